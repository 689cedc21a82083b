"""Figures of the whole set, whatever was found: lengths, scores, coverage, idleness, how the arm follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.coverage import coverage
from hpt_ros.demos.audit.gripper import gripper_events_s
from hpt_ros.demos.audit.measures import following, path_length_rad
from hpt_ros.demos.audit.motion import idle_windows
from hpt_ros.demos.audit.timing import declared_rates_hz
from hpt_ros.demos.audit.view import Array, EpisodeView


def facts(views: Sequence[EpisodeView], config: AuditConfig) -> dict[str, Any]:
    """Plain data; empty without an episode. Values that are not known are None."""
    if not views:
        return {}
    durations_s = np.array([view.duration_s for view in views])
    idle = np.concatenate([idle_windows(view, config) for view in views])
    return {
        "embodiment": views[0].embodiment.name,
        "episodes": len(views),
        "duration_s": _round(durations_s.sum()),
        "duration_per_episode_s": _spread(durations_s),
        "path_per_episode_rad": _spread(np.array([path_length_rad(view) for view in views])),
        "scores": {f"{score:g}": count for score, count in sorted(Counter(view.score for view in views).items())},
        "idle_share": _round(idle.mean()) if len(idle) else None,
        "gripper_events_per_episode": _spread(np.array([len(gripper_events_s(view, config)) for view in views])),
        "coverage": _coverage(views, config),
        "joints": _joints(views, config),
        "streams": _streams(views),
    }


def _coverage(views: Sequence[EpisodeView], config: AuditConfig) -> dict[str, Any] | None:
    found = coverage(views, config)
    if found is None:
        return None
    box = {
        f"{axis}_m": [_round(low), _round(high)]
        for axis, low, high in zip("xyz", found.low_m, found.high_m, strict=True)
    }
    return box | {
        "voxel_m": config.voxel_m,
        "voxels_visited": found.voxels,
        "share_of_workspace": _round(found.voxel_share),
    }


def _joints(views: Sequence[EpisodeView], config: AuditConfig) -> dict[str, dict[str, float | None]]:
    """By joint: range [rad], command minus measured [rad] and lag [ms], each the median over the episodes."""
    found = [following(view, config) for view in views]
    lags_s, offsets = np.stack([f.lag_s for f in found]), np.stack([f.offset_rad for f in found])
    values = np.concatenate([view.joints.finite().values for view in views])
    return {
        name: {
            "min_rad": _round(values[:, i].min()) if len(values) else None,
            "max_rad": _round(values[:, i].max()) if len(values) else None,
            "offset_rad": _median(offsets[:, i]),
            "lag_ms": _median(lags_s[:, i] * 1e3),
        }
        for i, name in enumerate(views[0].embodiment.joints.names)
    }


def _streams(views: Sequence[EpisodeView]) -> dict[str, dict[str, float | None]]:
    """By stream: declared and lowest mean rate [Hz], longest gap and median delay of arrival [ms]; only bags know them."""
    found: dict[str, dict[str, float | None]] = {}
    for key, declared_hz in declared_rates_hz(views[0].embodiment).items():
        arrivals = [view.streams[key] for view in views if key in view.streams and len(view.streams[key].time_s) > 1]
        if arrivals:
            spans_s = [float(np.ptp(a.time_s)) for a in arrivals]
            found[key] = {
                "declared_rate_hz": declared_hz,
                "lowest_rate_hz": _round(
                    min((len(a.time_s) - 1) / max(s, 1e-9) for a, s in zip(arrivals, spans_s, strict=True))
                ),
                "longest_gap_ms": _round(max(np.diff(a.time_s).max() for a in arrivals) * 1e3),
                "delay_ms": _round(np.median(np.concatenate([a.delay_s for a in arrivals])) * 1e3),
            }
    return found


def _spread(values: Array) -> dict[str, float]:
    return {
        "min": _round(values.min()),
        "median": _round(np.median(values)),
        "max": _round(values.max()),
    }


def _median(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return _round(np.median(known)) if len(known) else None


def _round(value: Any) -> float:
    return round(float(value), 4)
