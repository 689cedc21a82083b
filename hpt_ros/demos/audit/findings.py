"""What the audit can find: every kind with its harm, its meaning and what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["harmful", "suspect", "note"]
SEVERITIES: tuple[Severity, ...] = ("harmful", "suspect", "note")
"""Worst first. harmful: training on it teaches something false, or conversion refuses it. suspect: look before training. note: may be meant."""

_MAX_SUBJECTS = 4


@dataclass(frozen=True)
class Kind:
    """One sort of finding."""

    severity: Severity
    meaning: str
    remedy: str


KINDS = {
    "unreadable": Kind(
        "harmful",
        "the bag cannot be read, or lacks a stream of the embodiment",
        "`hpt-ros bags verify` it; `hpt-ros bags salvage` one that was cut off, record it again, or correct the embodiment",
    ),
    "bad_values": Kind(
        "harmful",
        "NaN, infinity, a missing joint, or a message or image that cannot be decoded",
        "check the driver that publishes it; leave the episode out (`hpt-ros bags exclude`)",
    ),
    "gap": Kind(
        "harmful",
        "a stream paused for longer than its age budget, or the commands for two policy periods",
        "trim the episode (`hpt-ros bags trim`) or leave it out; find what blocks the publisher or the network",
    ),
    "rate_low": Kind(
        "harmful",
        "fewer messages per second than the embodiment declares",
        "raise the driver's rate or the bandwidth (compressed images), or correct `rate_hz` in the embodiment",
    ),
    "clock_skew": Kind(
        "harmful",
        "streams are stamped by clocks that differ: pictures and joints of one tick belong to different moments",
        "synchronise the machines (chrony, PTP), or make the driver stamp when it measures",
    ),
    "old_samples": Kind(
        "suspect",
        "the samples at the ticks are older than rate and allowance explain: the stream comes in bursts",
        "look for pauses of the publisher; lower the load of the recording machine",
    ),
    "camera_black": Kind(
        "harmful",
        "frames without light",
        "check lens cap, cable and exposure; leave the episodes out",
    ),
    "camera_overexposed": Kind(
        "suspect",
        "most pixels are at the sensor's end",
        "fix the exposure at the light that the policy will meet; record again if the object cannot be seen",
    ),
    "camera_frozen": Kind(
        "harmful",
        "the picture stands while the arm moves",
        "restart the camera driver; leave the episodes out: the policy would learn not to look",
    ),
    "frames_repeated": Kind(
        "suspect",
        "the same picture under new stamps while the arm moves: the true rate is lower than the topic's",
        "make the driver publish each frame once; set `rate_hz` to the camera's own rate",
    ),
    "joint_jump": Kind(
        "harmful",
        "an angle changes faster than the arm can move",
        "look for lost packets, a wrong joint order or a reset within the episode; leave it out",
    ),
    "position_limit": Kind(
        "suspect",
        "the commands lie at the commander's margin of a joint limit",
        "demonstrate in another arm posture, or move the workpiece",
    ),
    "velocity_limit": Kind(
        "suspect",
        "the commands run at the configured share of the velocity limit: the limiter cuts what was asked for",
        "demonstrate more slowly, or raise `safety.velocity_fraction` for recording and serving alike",
    ),
    "command_offset": Kind(
        "suspect",
        "measured angles stay away from the commanded ones",
        "stiffen the controller, compensate the payload, or check that both name the same joints",
    ),
    "arm_lags": Kind(
        "suspect",
        "the arm follows its commands late",
        "stiffen the controller or shorten its interpolation; check the clocks of robot and workstation",
    ),
    "arm_leads": Kind(
        "harmful",
        "the arm moves before its commands: their stamps are late, or something else drives it",
        "synchronise the clocks; see that only the commander commands the arm",
    ),
    "idle": Kind(
        "suspect",
        "neither arm nor fingers move for most of an episode: policies learn to stand still",
        "start when the motion begins and do not pause; conversion cuts off the ends only (`hpt-ros bags trim`)",
    ),
    "dead_dimension": Kind(
        "suspect",
        "a joint never moves in any episode",
        "check the joint names; if it is meant, expect the policy never to move it",
    ),
    "gripper_unused": Kind(
        "note",
        "the fingers never move in any episode",
        "nothing, if the task needs no grasp; otherwise check the gripper's command topic",
    ),
    "gripper_silent": Kind(
        "suspect",
        "no opening or closing in an episode, whereas most others of the set have some",
        "look at the episode: a failed grasp with a good score should be corrected (`hpt-ros bags score`)",
    ),
    "gripper_chatter": Kind(
        "suspect",
        "the gripper is told to open and close faster than it can",
        "debounce the button of the teleoperation device; leave the episodes out",
    ),
    "outside_workspace": Kind(
        "suspect",
        "the tool was measured outside the embodiment's workspace box, where the policy will not be let",
        "correct `safety.workspace`, or leave the episodes out",
    ),
    "coverage_narrow": Kind(
        "suspect",
        "the tool stays within a few centimetres over all episodes",
        "vary start and goal as the trials will",
    ),
    "failures": Kind(
        "suspect",
        "episodes with a low score are part of the demonstration set",
        "convert again with the default `--min-score`, unless failures are wanted",
    ),
    "outlier": Kind(
        "suspect",
        "length, path or start pose differs much from the other episodes",
        "look at the episode; trim it or leave it out if it shows something else",
    ),
    "near_duplicate": Kind(
        "suspect",
        "two episodes follow the same path: held-out scores look better than they are",
        "leave one of them out",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One observation about an episode, or about the whole set where `episode` is "".

    `subject`: stream, camera, joint, or other episode. `excess`: how far beyond the threshold, as a ratio; ranks equals.
    """

    kind: str
    episode: str
    subject: str
    seen: str
    expected: str
    excess: float = 1.0

    @property
    def severity(self) -> Severity:
        """As its kind."""
        return KINDS[self.kind].severity

    @property
    def remedy(self) -> str:
        """As its kind."""
        return KINDS[self.kind].remedy

    def to_mapping(self) -> dict[str, Any]:
        """Plain data."""
        names = ("severity", "kind", "episode", "subject", "seen", "expected", "remedy")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Group:
    """Findings of one kind; `worst` has the largest excess."""

    kind: str
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Finding:
        """The finding that is farthest beyond its threshold."""
        return max(self.findings, key=lambda finding: finding.excess)

    @property
    def episodes(self) -> tuple[str, ...]:
        """Episodes concerned, each once."""
        return tuple(dict.fromkeys(f.episode for f in self.findings if f.episode))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Streams, cameras or joints concerned, each once."""
        return tuple(dict.fromkeys(f.subject for f in self.findings if f.subject))

    def summary(self) -> str:
        """Where, in a few words: how many episodes, and which streams, cameras or joints."""
        names = self.episodes
        where = (
            []
            if not names
            else [names[0]]
            if len(names) == 1
            else [f"{len(names)} episodes, worst {self.worst.episode}"]
        )
        subjects = self.subjects
        if subjects and self.kind != "near_duplicate":
            where.append(", ".join(subjects[:_MAX_SUBJECTS]) + (" ..." if len(subjects) > _MAX_SUBJECTS else ""))
        return ": ".join(where) or "the whole set"


def ranked(findings: Iterable[Finding]) -> list[Group]:
    """One group per kind, most harmful first: by severity, then by episodes concerned, then by excess."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    groups = [Group(kind, tuple(found)) for kind, found in by_kind.items()]
    return sorted(groups, key=lambda g: (SEVERITIES.index(g.worst.severity), -len(g.episodes), -g.worst.excess, g.kind))


def kinds_table() -> str:
    """The table of docs/audit.md."""
    lines = ["| finding | harm | what it means | what to do |", "| --- | --- | --- | --- |"]
    ordered = sorted(KINDS.items(), key=lambda item: SEVERITIES.index(item[1].severity))
    lines += [f"| `{name}` | {kind.severity} | {kind.meaning} | {kind.remedy} |" for name, kind in ordered]
    return "\n".join(lines) + "\n"
