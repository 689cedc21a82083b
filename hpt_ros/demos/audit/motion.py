"""Checks of how the arm moves: jumps, limits, idleness."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hpt_ros.control.limits import TABLES
from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.measures import speeds
from hpt_ros.demos.audit.view import EpisodeView, Series


def jumps(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """joint_jump: from one sample to the next faster than the limit table allows, measured or commanded."""
    limits = config.jump_factor * np.array(TABLES[view.embodiment.safety.limits].velocity)
    for what, series in (("measured", view.joints.finite()), ("commanded", view.joint_command.finite())):
        if len(series) < 2:
            continue
        steps_s = np.maximum(np.diff(series.time_s), config.jump_window_s)
        found = np.abs(np.diff(series.values, axis=0)) / steps_s[:, None]
        excess = found / limits
        for joint in np.flatnonzero(excess.max(axis=0) > 1).tolist():
            at = int(excess[:, joint].argmax())
            step = abs(series.values[at + 1, joint] - series.values[at, joint])
            seen = f"{what}: {step:.2f} rad within {steps_s[at] * 1e3:.0f} ms at {series.time_s[at]:.1f} s"
            expected = f"<= {limits[joint]:.2f} rad/s"
            yield Finding("joint_jump", view.name, _joint(view, joint), seen, expected, float(excess[at, joint]))


def position_limits(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """position_limit: share of the time that the command lies at the margin which the commander keeps."""
    command = view.joint_command.finite()
    if not len(command):
        return
    table, safety = TABLES[view.embodiment.safety.limits], view.embodiment.safety
    near = safety.position_margin_rad + config.limit_tolerance_rad
    low, high = np.array(table.position_min) + near, np.array(table.position_max) - near
    shares = ((command.values <= low) | (command.values >= high)).mean(axis=0)
    for joint in np.flatnonzero(shares > config.limit_share).tolist():
        seen = f"{shares[joint]:.0%} of the commands within {near:.3f} rad of the limit"
        expected, excess = f"<= {config.limit_share:.0%}", float(shares[joint]) / config.limit_share
        yield Finding("position_limit", view.name, _joint(view, joint), seen, expected, excess)


def velocity_limits(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """velocity_limit: share of the time that the command moves at the configured fraction of the table."""
    table, fraction = TABLES[view.embodiment.safety.limits], view.embodiment.safety.velocity_fraction
    allowed = fraction * np.array(table.velocity)
    _, found = speeds(view.joint_command, config.speed_window_s)
    if not len(found):
        return
    shares = (np.abs(found) >= config.velocity_share * allowed).mean(axis=0)
    for joint in np.flatnonzero(shares > config.velocity_time_share).tolist():
        seen = f"{shares[joint]:.0%} of the time at {allowed[joint]:.2f} rad/s"
        expected, excess = f"<= {config.velocity_time_share:.0%}", float(shares[joint]) / config.velocity_time_share
        yield Finding("velocity_limit", view.name, _joint(view, joint), seen, expected, excess)


def idleness(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """idle: share of the episode without motion of arm or fingers, and how much of it lies at the ends."""
    still = idle_windows(view, config)
    if not len(still) or (still.all() and view.duration_s < config.idle_min_s):
        return
    share, window_s = float(still.mean()), config.speed_window_s / 2
    moving = np.flatnonzero(~still)
    before, after = (int(moving[0]), len(still) - 1 - int(moving[-1])) if len(moving) else (len(still), 0)
    if share > config.idle_share and still.sum() * window_s >= config.idle_min_s:
        seen = f"{share:.0%} idle: {before * window_s:.1f} s at the start, {after * window_s:.1f} s at the end"
        yield Finding("idle", view.name, "", seen, f"<= {config.idle_share:.0%}", share / config.idle_share)


def idle_windows(view: EpisodeView, config: AuditConfig) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Per half-overlapping window of `speed_window_s`: nothing moves."""
    start_s, found = speeds(view.joints, config.speed_window_s)
    still = np.asarray((np.abs(found) < config.idle_rad_s).all(axis=1))
    if view.gripper is not None and len(view.gripper.finite()) and len(start_s):
        still &= ~_fingers_move(view.gripper.finite(), start_s, config)
    return still


def _fingers_move(
    gripper: Series, start_s: np.ndarray[tuple[int], np.dtype[np.float64]], config: AuditConfig
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    moved_m = gripper.at(start_s + config.speed_window_s) - gripper.at(start_s)
    return np.asarray((np.abs(moved_m) > config.idle_m_s * config.speed_window_s).any(axis=1))


def _joint(view: EpisodeView, index: int) -> str:
    return view.embodiment.joints.names[index]
