"""Checks of cameras: black, overexposed, frozen and repeated frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.view import Array, EpisodeView, Frames, Series


def pictures(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """camera_black, camera_overexposed, camera_frozen, frames_repeated: per camera only the first that applies.

    A camera without light also stands still; what explains the rest is named.
    """
    joints = view.joints.finite()
    for name, frames in view.cameras.items():
        found = next(
            (f for check in (_black, _overexposed, _frozen, _repeated) for f in check(frames, joints, config)), None
        )
        if found is not None:
            kind, seen, expected, excess = found
            yield Finding(kind, view.name, f"camera.{name}", seen, expected, excess)


_Found = tuple[str, str, str, float]


def _black(frames: Frames, _: Series, config: AuditConfig) -> Iterator[_Found]:
    yield from _light("camera_black", "black", frames.dark_share, config.black_frames_share, config)


def _overexposed(frames: Frames, _: Series, config: AuditConfig) -> Iterator[_Found]:
    yield from _light("camera_overexposed", "overexposed", frames.bright_share, config.white_frames_share, config)


def _light(kind: str, word: str, shares: Array, allowed: float, config: AuditConfig) -> Iterator[_Found]:
    if not len(shares):
        return
    found = float((shares >= config.picture_share).mean())
    if found > allowed:
        yield kind, f"{found:.0%} of the frames are {word}", f"<= {allowed:.0%}", found / allowed


def _frozen(frames: Frames, joints: Series, config: AuditConfig) -> Iterator[_Found]:
    worst = max(
        (
            (float(frames.time_s[last] - frames.time_s[first]), float(frames.time_s[first]))
            for first, last in _runs(frames.digest)
            if _motion(joints, frames.time_s[[first, last]])[0] > config.frozen_rad
        ),
        default=(0.0, 0.0),
    )
    if worst[0] > config.frozen_s:
        seen = f"the picture stands for {worst[0]:.1f} s at {worst[1]:.1f} s while the arm moves"
        yield "camera_frozen", seen, f"<= {config.frozen_s:g} s", worst[0] / config.frozen_s


def _repeated(frames: Frames, joints: Series, config: AuditConfig) -> Iterator[_Found]:
    moved = _motion(joints, frames.time_s) > config.still_rad
    if int(moved.sum()) < config.repeated_min_pairs:
        return
    share = float((frames.digest[1:] == frames.digest[:-1])[moved].mean())
    if share > config.repeated_share:
        seen = f"{share:.0%} of the frames in motion repeat the one before"
        yield "frames_repeated", seen, f"<= {config.repeated_share:.0%}", share / config.repeated_share


def _runs(digest: NDArray[np.uint32]) -> list[tuple[int, int]]:
    """First and last index of every run of two or more equal digests."""
    edges = np.flatnonzero(np.diff(digest) != 0)
    first, last = np.append(0, edges + 1), np.append(edges, len(digest) - 1)
    return [(int(a), int(b)) for a, b in zip(first, last, strict=True) if b > a]


def _motion(joints: Series, time_s: Array) -> Array:
    """Largest joint step [rad] between neighbouring times, (len(time_s) - 1,)."""
    if len(joints) == 0:
        return np.zeros(max(len(time_s) - 1, 0))
    return np.asarray(np.abs(np.diff(joints.at(time_s), axis=0)).max(axis=1))
