"""Pictures of a report, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpt_ros.evaluation.trials import Trial


def success_png(candidates: Sequence[Mapping[str, Any]]) -> bytes:
    """Success with Wilson intervals and mean score with bootstrap intervals, side by side."""

    def draw(axes: Any) -> None:
        for axis, rate, interval, title in (
            (axes[0], "success_rate", "interval_95", "Success, 95 % Wilson interval"),
            (axes[1], "mean_score", "mean_score_interval_95", "Mean score, 95 % bootstrap interval"),
        ):
            for row, candidate in enumerate(candidates):
                value, (low, high) = candidate[rate], candidate[interval]
                axis.barh(row, value, height=0.5, color=f"C{row % 10}")
                axis.errorbar(
                    value, row, xerr=[[max(value - low, 0)], [max(high - value, 0)]], color="black", capsize=5
                )
            axis.set(title=title, xlim=(0, 1.02), yticks=range(len(candidates)))
            axis.invert_yaxis()
        axes[0].set_yticklabels([candidate["checkpoint"] for candidate in candidates])
        axes[1].set_yticklabels([])

    return _png(draw, 2, (11, 1.2 + 0.5 * len(candidates)))


def time_png(trials: Sequence[Trial], names: Mapping[str, str]) -> bytes:
    """Share of all trials that had succeeded by a time, and the policy's latency of each trial."""

    def draw(axes: Any) -> None:
        for row, (key, name) in enumerate(names.items()):
            own = [trial for trial in trials if trial.checkpoint == key]
            times = np.sort([trial.duration_s for trial in own if trial.score == 1.0])
            shares = np.arange(1, len(times) + 1) / max(len(own), 1)
            end = max((trial.duration_s for trial in trials), default=0.0)
            axes[0].step([0, *times, end], [0, *shares, shares[-1] if len(shares) else 0], where="post", label=name)
            axes[1].plot(sorted(t.policy_latency_p99_ms for t in own), np.arange(len(own)), ".-", color=f"C{row % 10}")
        axes[0].set(title="Succeeded by then", xlabel="time [s]", ylabel="share of the trials", ylim=(0, 1.02))
        axes[0].legend(fontsize="x-small")
        axes[1].set(title="Policy step p99 of each trial, sorted", xlabel="[ms]", ylabel="trial", xlim=(0, None))

    return _png(draw, 2, (11, 3.4))


def _png(draw: Callable[[Any], None], columns: int, size: tuple[float, float]) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=size, layout="constrained")
    draw(axes)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    pyplot.close(figure)
    return data.getvalue()
