"""Checks of what the demonstrations cover: workspace of the tool, range of each joint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.measures import tcp_path_m
from hpt_ros.demos.audit.view import Array, EpisodeView
from hpt_ros.embodiment.schema import Workspace

_AXES = "xyz"


@dataclass(frozen=True)
class Coverage:
    """low_m, high_m: corners (3,) of the box of all TCP positions; voxel_share: share of the workspace's voxels visited."""

    low_m: Array
    high_m: Array
    voxels: int
    voxel_share: float


def workspace(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """outside_workspace: how far the tool was measured outside the box."""
    path = tcp_path_m(view)
    if not len(path):
        return
    low, high = corners_m(view.embodiment.safety.workspace)
    beyond = np.maximum(low - path, path - high)
    if beyond.max() > config.outside_m:
        at, axis = np.unravel_index(int(beyond.argmax()), beyond.shape)
        seen = f"{_AXES[axis]} = {path[at, axis]:.3f} m"
        expected = f"{low[axis]:g} to {high[axis]:g} m"
        yield Finding(
            "outside_workspace", view.name, f"TCP {_AXES[axis]}", seen, expected, float(beyond.max()) / config.outside_m
        )


def breadth(views: Sequence[EpisodeView], config: AuditConfig) -> Iterator[Finding]:
    """coverage_narrow, by the longest side of the box."""
    found = coverage(views, config)
    if found is not None and (longest_m := float((found.high_m - found.low_m).max())) < config.narrow_m:
        seen = f"all positions within {longest_m * 100:.1f} cm"
        yield Finding(
            "coverage_narrow",
            "",
            "TCP",
            seen,
            f">= {config.narrow_m * 100:g} cm",
            config.narrow_m / max(longest_m, 1e-6),
        )


def dead_dimensions(views: Sequence[EpisodeView], config: AuditConfig) -> Iterator[Finding]:
    """dead_dimension: joints whose range over all episodes is nothing, unless none moves at all (then it is idleness)."""
    values = [view.joints.finite().values for view in views if len(view.joints.finite())]
    if not values:
        return
    spread = np.ptp(np.concatenate(values), axis=0)
    dead = spread < config.dead_rad
    if dead.all():
        return
    for joint in np.flatnonzero(dead).tolist():
        name = views[0].embodiment.joints.names[joint]
        yield Finding("dead_dimension", "", name, f"range {spread[joint]:.5f} rad", f">= {config.dead_rad:g} rad")


def coverage(views: Sequence[EpisodeView], config: AuditConfig) -> Coverage | None:
    """Of all episodes; None without a position."""
    paths = [path for view in views if len(path := tcp_path_m(view))]
    if not paths:
        return None
    points = np.concatenate(paths)
    low, high = corners_m(views[0].embodiment.safety.workspace)
    cells = np.ceil((high - low) / config.voxel_m).astype(int)
    inside = points[((points >= low) & (points < high)).all(axis=1)]
    visited = len(np.unique(((inside - low) / config.voxel_m).astype(int), axis=0))
    return Coverage(points.min(axis=0), points.max(axis=0), visited, visited / int(cells.prod()))


def corners_m(box: Workspace) -> tuple[Array, Array]:
    """Low and high corner, (3,) [m]."""
    low, high = np.array([box.x_m, box.y_m, box.z_m]).T
    return low, high
