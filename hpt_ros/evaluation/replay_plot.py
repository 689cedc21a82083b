"""One picture of a replay: what was done and what the policy would have done, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpt_ros.evaluation.replay import ColumnErrors, EpisodeReplay

_COLUMNS = 3


def replay_plot(path: Path, replay: EpisodeReplay, columns: Sequence[ColumnErrors], period_s: float) -> None:
    """Write a PNG: a panel per action column of one episode, and the mean error by horizon row over all of them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-(len(columns) + 1) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(13, 3 * rows), layout="constrained", squeeze=False)
    panels = list(axes.flat)
    for i, column in enumerate(columns):
        _commands(panels[i], replay, i, period_s)
        panels[i].set(title=column.name, ylabel=column.unit, xlabel="time [s]")
    panels[0].legend(loc="best")
    errors = panels[len(columns)]
    for column in columns:
        ahead_s = period_s * np.arange(1, len(column.mean_by_row) + 1)
        errors.plot(ahead_s, column.mean_by_row, label=f"{column.name} [{column.unit}]")
    errors.set(title="mean error by horizon row, all episodes", xlabel="time ahead [s]")
    errors.legend(fontsize="x-small")
    for unused in panels[len(columns) + 1 :]:
        unused.axis("off")
    figure.suptitle(f"episode {replay.episode}: recorded commands and open-loop predictions")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _commands(axis: Any, replay: EpisodeReplay, column: int, period_s: float) -> None:
    """The commands as a line, and every few ticks the chunk that was predicted there."""
    ticks, horizon = replay.predicted.shape[:2]
    axis.plot(period_s * np.arange(ticks), replay.in_force[:, column], color="black", label="recorded")
    for tick in range(0, ticks, max(1, horizon // 4)):
        due_s = period_s * (tick + 1 + np.arange(horizon))[replay.valid[tick]]
        chunk = replay.predicted[tick, replay.valid[tick], column]
        axis.plot(due_s, chunk, color="tab:orange", linewidth=0.8, label="predicted" if tick == 0 else None)
