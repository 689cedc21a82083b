"""Checks of the gripper's commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.view import Array, EpisodeView


def chatter(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """gripper_chatter: most changes between open and closed within `chatter_s`."""
    events_s = gripper_events_s(view, config)
    counts = np.searchsorted(events_s, events_s + config.chatter_s, side="right") - np.arange(len(events_s))
    if len(counts) and counts.max() >= config.chatter_events:
        count, at_s = int(counts.max()), float(events_s[counts.argmax()])
        seen = f"{count} changes within {config.chatter_s:g} s at {at_s:.1f} s"
        expected = f"< {config.chatter_events}"
        yield Finding("gripper_chatter", view.name, "", seen, expected, count / config.chatter_events)


def use(views: Sequence[EpisodeView], config: AuditConfig) -> Iterator[Finding]:
    """gripper_unused for the set; gripper_silent for episodes without an event where most others have one."""
    views = [view for view in views if view.gripper is not None and len(view.command)]
    if not views:
        return
    silent = [view for view in views if not len(gripper_events_s(view, config))]
    if all(_range_m(view) < config.dead_m for view in views):
        yield Finding("gripper_unused", "", "", "no motion of the fingers", "some, if the task grasps")
    elif len(silent) < len(views) / 2:
        share = f"events in {len(views) - len(silent)} of {len(views)} episodes"
        for view in silent:
            yield Finding("gripper_silent", view.name, "", "never opened or closed", share)


def gripper_events_s(view: EpisodeView, config: AuditConfig) -> Array:
    """Times [s] at which the commanded width changes between open and closed, with hysteresis."""
    gripper, series = view.embodiment.gripper, view.width_command
    if gripper is None or series is None:
        return np.empty(0)
    series = series.finite()
    share = series.values[:, 0] / gripper.max_width_m
    decided = np.flatnonzero((share >= config.open_share) | (share <= config.closed_share))
    is_open = share[decided] >= config.open_share
    return np.asarray(series.time_s[decided[1:]][is_open[1:] != is_open[:-1]])


def _range_m(view: EpisodeView) -> float:
    """How far the fingers moved or were told to."""
    both = [series.finite().values for series in (view.gripper, view.width_command) if series is not None]
    return max((float(np.ptp(values)) for values in both if len(values)), default=0.0)
