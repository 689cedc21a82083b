"""Checks of episodes against each other: failures, outliers, near-duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.measures import path_length_rad, resampled
from hpt_ros.demos.audit.view import Array, EpisodeView


def failures(views: Sequence[EpisodeView], config: AuditConfig) -> Iterator[Finding]:
    """failures: of a demonstration set; in bags they are left out by the conversion."""
    for view in views:
        if view.from_demos and view.score < config.failed_score:
            yield Finding("failures", view.name, "", f"score {view.score:g}", f">= {config.failed_score:g}")


def outliers(views: Sequence[EpisodeView], config: AuditConfig) -> Iterator[Finding]:
    """outlier: robust z-scores of duration, path length and distance of the start pose from the median one."""
    views = [view for view in views if len(view.joints.finite())]
    if len(views) < config.outlier_min_episodes:
        return
    starts = np.stack([view.joints.finite().values[0] for view in views])
    start_rad = np.linalg.norm(starts - np.median(starts, axis=0), axis=1)
    measures = {
        "duration": (np.array([view.duration_s for view in views]), "s", 0.0),
        "path": (np.array([path_length_rad(view) for view in views]), "rad", 0.0),
        "start pose": (start_rad, "rad away", config.outlier_start_rad),
    }
    odd: dict[int, list[str]] = {}
    worst: dict[int, float] = {}
    for what, (values, unit, least) in measures.items():
        z = robust_z(values, config.outlier_floor)
        for i in np.flatnonzero((np.abs(z) > config.outlier_z) & (values >= least)).tolist():
            odd.setdefault(i, []).append(f"{what} {values[i]:.2f} {unit} (median {np.median(values):.2f})")
            worst[i] = max(worst.get(i, 0.0), abs(float(z[i])))
    for i, reasons in odd.items():
        expected = f"robust z within {config.outlier_z:g}"
        yield Finding("outlier", views[i].name, "", ", ".join(reasons), expected, worst[i] / config.outlier_z)


def near_duplicates(views: Sequence[EpisodeView], config: AuditConfig) -> Iterator[Finding]:
    """near_duplicate: root mean square joint distance between resampled paths; named at the later episode of a pair.

    Episodes in which nothing moves are left out: they are idle, and all alike.
    """
    views = [view for view in views if path_length_rad(view) > config.lag_motion_rad]
    if len(views) < 2:
        return
    paths = np.stack([resampled(view, config.duplicate_points).ravel() for view in views])
    count = np.sqrt(config.duplicate_points)
    for later in range(1, len(views)):
        distance = np.linalg.norm(paths[:later] - paths[later], axis=1) / count
        nearest = int(distance.argmin())
        if distance[nearest] < config.duplicate_rad:
            seen = f"{distance[nearest] * 1e3:.1f} mrad from {views[nearest].name}"
            excess = config.duplicate_rad / max(float(distance[nearest]), 1e-6)
            expected = f">= {config.duplicate_rad * 1e3:g} mrad"
            yield Finding("near_duplicate", views[later].name, views[nearest].name, seen, expected, excess)


def robust_z(values: Array, floor: float) -> Array:
    """(x - median) / (1.4826 MAD), the deviation being at least `floor` x the median's size (Iglewicz and Hoaglin, 1993)."""
    median = np.median(values)
    deviation = 1.4826 * np.median(np.abs(values - median))
    return np.asarray((values - median) / max(float(deviation), floor * abs(float(median)), 1e-9))
