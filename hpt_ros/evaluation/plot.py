"""One picture of a walk: training loss, success with intervals, time per stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def walk_plot(
    path: Path, metrics: Path, results: Mapping[str, Mapping[str, Any]], stages_s: Mapping[str, float]
) -> None:
    """Write a PNG. `metrics` is a run's metrics.jsonl; `results` maps a name to a `summary` of its trials."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (loss, success, time) = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    for key, label in (("loss", "training"), ("val_loss", "held-out episodes")):
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        if points:
            loss.semilogy(*zip(*points, strict=True), label=label)
    loss.set(title="Loss (smooth L1, normalised)", xlabel="step")
    loss.legend()
    for x, result in enumerate(results.values()):
        low, high = result["interval_95"]
        rate = result["success_rate"]
        success.bar(x, rate, width=0.5, color="tab:blue" if x == 0 else "tab:gray")
        success.errorbar(x, rate, [[rate - low], [high - rate]], color="black", capsize=5)
        success.text(x + 0.28, rate, f"{result['successes']}/{result['trials']}", va="bottom")
    success.set(title="Success, 95 % Wilson interval", ylim=(0, 1.05), xticks=range(len(results)))
    success.set_xticklabels(results)
    time.barh(list(stages_s), list(stages_s.values()), color="tab:green")
    time.invert_yaxis()
    time.set(title="Time per stage [s]")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
