"""Figures that several checks take from an episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpt_ros.control.kinematics import forward
from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.view import Array, EpisodeView, Series

_TCP_PERIOD_S = 1 / 15  # positions closer in time tell nothing more about coverage


def speeds(series: Series, window_s: float) -> tuple[Array, Array]:
    """Mean speeds over windows that overlap by half: starts (K,) [s] and signed values (K, D) per second."""
    series = series.finite()
    if len(series) < 2 or series.time_s[-1] - series.time_s[0] < window_s:
        return np.empty(0), np.empty((0, series.values.shape[1]))
    start_s = np.arange(series.time_s[0], series.time_s[-1] - window_s + 1e-9, window_s / 2)
    return start_s, (series.at(start_s + window_s) - series.at(start_s)) / window_s


def path_length_rad(view: EpisodeView) -> float:
    """Length of the path in joint space; noise is not summed up, because the path is taken at ticks."""
    joints = view.joints.finite()
    if len(joints) < 2:
        return 0.0
    ticks_s = np.arange(joints.time_s[0], joints.time_s[-1], 1 / view.embodiment.policy.rate_hz)
    return float(np.linalg.norm(np.diff(joints.at(ticks_s), axis=0), axis=1).sum())


def resampled(view: EpisodeView, points: int) -> Array:
    """The path in joint space at `points` even shares of its duration, (points, J)."""
    joints = view.joints.finite()
    return joints.at(np.linspace(joints.time_s[0], joints.time_s[-1], points))


def tcp_path_m(view: EpisodeView) -> Array:
    """Measured positions of the tool centre point in the base frame, (K, 3) [m]."""
    joints = view.joints.finite()
    if not len(joints):
        return np.empty((0, 3))
    ticks_s = np.arange(joints.time_s[0], joints.time_s[-1] + 1e-9, _TCP_PERIOD_S)
    return np.stack([forward(q)[:3, 3] for q in joints.at(ticks_s)])


@dataclass(frozen=True)
class Following:
    """How the arm follows: per joint lag [s] (NaN where it hardly moved) and median command minus measured [rad] after the lag."""

    lag_s: Array
    offset_rad: Array

    @property
    def arm_lag_s(self) -> float:
        """Median over the joints; NaN when none moved."""
        known = self.lag_s[np.isfinite(self.lag_s)]
        return float(np.median(known)) if len(known) else float("nan")


def following(view: EpisodeView, config: AuditConfig) -> Following:
    """Lag by cross-correlation of the speeds, offset of what remains; NaN for an episode that is too short."""
    command, joints = view.joint_command.finite(), view.joints.finite()
    nothing = np.full(joints.values.shape[1], np.nan)
    if min(len(command), len(joints)) < 3:
        return Following(nothing, nothing)
    begin_s, end_s = max(command.time_s[0], joints.time_s[0]), min(command.time_s[-1], joints.time_s[-1])
    step_s = max(0.005, float(np.median(np.diff(command.time_s))), float(np.median(np.diff(joints.time_s))))
    grid_s = np.arange(begin_s, end_s, step_s)
    if len(grid_s) < 8:
        return Following(nothing, nothing)
    wanted, found = command.at(grid_s), joints.at(grid_s)
    reach = min(max(round(config.lag_search_s / step_s), 2), len(grid_s) // 3)
    lags_s = np.array(
        [
            _lag(a, b, reach, config.lag_correlation) * step_s if np.ptp(a) > config.lag_motion_rad else np.nan
            for a, b in zip(wanted.T, found.T, strict=True)
        ]
    )
    shift_s = float(np.nanmedian(lags_s)) if np.isfinite(lags_s).any() else 0.0
    inside = grid_s[(grid_s + shift_s >= begin_s) & (grid_s + shift_s <= end_s)]
    offset = np.median(command.at(inside) - joints.at(inside + shift_s), axis=0)
    return Following(lags_s, offset)


def _lag(wanted: Array, found: Array, reach: int, least: float) -> float:
    """Steps by which `found` follows `wanted`, to a fraction of a step; NaN when they do not resemble each other."""
    a, b = np.diff(wanted), np.diff(found)
    likeness = np.array([_likeness(a, b, k) for k in range(-reach, reach + 1)])
    best = int(likeness.argmax())
    if likeness[best] < least:
        return float("nan")
    if not 0 < best < len(likeness) - 1:
        return float(best - reach)
    left, top, right = likeness[best - 1 : best + 2]
    bend = left - 2 * top + right
    return float(best - reach + (0.5 * (left - right) / bend if bend < 0 else 0.0))  # vertex of the parabola


def _likeness(a: Array, b: Array, k: int) -> float:
    """Cosine between a[t] and b[t + k] over the times that both have."""
    a, b = (a[: len(a) - k], b[k:]) if k >= 0 else (a[-k:], b[:k])
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else 0.0
