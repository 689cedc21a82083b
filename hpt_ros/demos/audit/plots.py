"""Figures of a set as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.limits import TABLES
from hpt_ros.demos.audit.coverage import corners_m
from hpt_ros.demos.audit.measures import path_length_rad, tcp_path_m
from hpt_ros.demos.audit.view import EpisodeView

_DPI = 90


def coverage_png(views: Sequence[EpisodeView]) -> bytes:
    """TCP paths from above and from the side, with the workspace box; starts are points."""
    figure, axes = _figure(2, (11, 4.6))
    low, high = corners_m(views[0].embodiment.safety.workspace)
    for axis, (across, up), title in zip(axes, ((1, 0), (0, 2)), ("from above", "from the side"), strict=True):
        for view in views:
            path = tcp_path_m(view)
            if len(path):
                axis.plot(path[:, across], path[:, up], linewidth=0.8, alpha=0.6)
                axis.plot(path[0, across], path[0, up], ".", color="black", markersize=3)
        size = high - low
        axis.add_patch(_rectangle((low[across], low[up]), size[across], size[up]))
        axis.set(xlabel=f"{'xyz'[across]} [m]", ylabel=f"{'xyz'[up]} [m]", title=f"tool, {title}", aspect="equal")
    axes[0].invert_xaxis()  # y grows to the left when one looks along x
    return _png(figure)


def lengths_png(views: Sequence[EpisodeView]) -> bytes:
    """Distribution of durations, path lengths and scores."""
    figure, axes = _figure(3, (11, 2.8))
    axes[0].hist([view.duration_s for view in views], bins=20)
    axes[0].set(title="duration [s]", ylabel="episodes")
    axes[1].hist([path_length_rad(view) for view in views], bins=20)
    axes[1].set(title="path in joint space [rad]")
    scores, counts = np.unique([view.score for view in views], return_counts=True)
    axes[2].bar([f"{score:g}" for score in scores], counts)
    axes[2].set(title="score")
    return _png(figure)


def joints_png(views: Sequence[EpisodeView], joints: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Range of each joint inside its limits, offset and lag; `joints` as in the facts."""
    figure, axes = _figure(3, (11, 3.2))
    table, names = TABLES[views[0].embodiment.safety.limits], list(joints)
    at = np.arange(len(names))
    low, high = np.array(table.position_min), np.array(table.position_max)
    axes[0].barh(at, high - low, left=low, color="lightgray")
    axes[0].barh(at, _values(joints, "max_rad") - _values(joints, "min_rad"), left=_values(joints, "min_rad"))
    axes[0].set(title="range in limits [rad]", yticks=at, yticklabels=names)
    axes[1].barh(at, _values(joints, "offset_rad") * 1e3)
    axes[1].set(title="command - measured [mrad]", yticks=[])
    axes[2].barh(at, _values(joints, "lag_ms"))
    axes[2].set(title="lag [ms]", yticks=[])
    for axis in axes:
        axis.invert_yaxis()
    return _png(figure)


def picture_png(pixels: NDArray[np.uint8]) -> bytes:
    """An RGB picture (h, w, 3)."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])


def _values(joints: Mapping[str, Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    return np.array([np.nan if facts[key] is None else facts[key] for facts in joints.values()])


def _figure(columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: nothing global is left behind
    return figure, figure.subplots(1, columns)


def _rectangle(corner: tuple[float, float], width: float, height: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, fill=False, linestyle="--", color="gray")


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
