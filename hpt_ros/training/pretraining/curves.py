"""The loss of each domain over the steps."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(path: Path, metrics: Path) -> None:
    """Write a PNG from the lines of a run's metrics.jsonl: training in full, held-out episodes as points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    domains = dict.fromkeys(domain for row in rows for domain in row["losses"])
    for domain in domains:
        seen = [(row["step"], row["losses"][domain]) for row in rows if domain in row["losses"]]
        (line,) = axes.semilogy(*zip(*seen, strict=True), label=domain)
        held_out = [(row["step"], row["val_losses"][domain]) for row in rows if domain in row["val_losses"]]
        if held_out:
            axes.semilogy(*zip(*held_out, strict=True), "o", color=line.get_color(), markersize=3)
    axes.set(title="Loss of each domain (normalised; points: held-out episodes)", xlabel="step")
    if domains:
        axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
