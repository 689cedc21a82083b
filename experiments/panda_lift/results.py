"""Tables, figure and video of the proof run, in docs/ or wherever they are to go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.panda_lift.plan import Cell
from experiments.panda_lift.stages import Stages
from hpt_ros.benchmarks.report import machine, versions

_INTRO = """# Proof run on the simulated Panda

Written by `python -m experiments.panda_lift{quick}` ({machine}, {cores} cores; {versions}). Demonstrations by the scripted expert through the
commander over DDS, on an arm that is pushed about while it moves and grips nothing; {trials} trials a cell from the same scenes, none of which was demonstrated. Trials *over
DDS* run all nodes in real time; the others run in the simulator alone, without latency and limiter. One training run each: intervals are of the trials
only, not of what another seed of training would give.

| | demonstrations | success | 95 % Wilson interval | median time to success |
|---|---|---|---|---|
"""


def write_results(stages: Stages, docs: Path) -> Path:
    """Write panda_lift.md, panda_lift.png and panda_lift.webm of the cells that are done; returns the page."""
    docs.mkdir(parents=True, exist_ok=True)
    plan = stages.plan
    done = [(cell, _summary(stages, cell)) for cell in plan.cells if stages.is_done(cell)]
    facts = versions()
    page = _INTRO.format(
        quick=" --quick" if plan.name == "quick" else "",
        machine=machine()["processor"],
        cores=machine()["cores"],
        versions=", ".join(f"{name} {facts[name]}" for name in ("hpt_ros", "torch", "mujoco-core") if name in facts),
        trials=plan.trials,
    )
    page += "".join(_row(cell, found) for cell, found in done)
    missing = [cell.name for cell in plan.cells if not stages.is_done(cell)]
    if missing:
        page += f"\nNot run yet: {', '.join(missing)}.\n"
    if done:
        _figure(docs / "panda_lift.png", done)
        page += "\n![Success by cell](panda_lift.png)\n"
    videos = sorted((stages.trials(plan.cells[0]) / "videos").glob("*.webm"))
    if videos:
        shutil.copyfile(videos[0], docs / "panda_lift.webm")
        page += "\nOne trial: [panda_lift.webm](panda_lift.webm).\n"
    path = docs / "panda_lift.md"
    path.write_text(page)
    return path


def _summary(stages: Stages, cell: Cell) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((stages.trials(cell) / "summary.json").read_text())
    return found


def _row(cell: Cell, found: dict[str, Any]) -> str:
    low, high = found["interval_95"]
    seconds = found["time_to_success_s"]
    time = "-" if seconds is None else f"{seconds:.1f} s"
    count = f"{found['successes']} of {found['trials']}"
    return f"| {cell.question} | {cell.demos} | {count} ({found['success_rate']:.0%}) | {low:.0%} to {high:.0%} | {time} |\n"


def _figure(path: Path, done: Sequence[tuple[Cell, dict[str, Any]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 1 + 0.32 * len(done)), layout="constrained")
    for row, (cell, found) in enumerate(done):
        rate, (low, high) = found["success_rate"], found["interval_95"]
        axis.barh(row, rate, height=0.6, color="tab:blue" if cell.over == "dds" else "tab:cyan")
        axis.errorbar(rate, row, xerr=[[max(rate - low, 0)], [max(high - rate, 0)]], color="black", capsize=3)
    axis.set(xlim=(0, 1.02), yticks=range(len(done)), title="Success, 95 % Wilson interval (dark: over DDS)")
    axis.set_yticklabels([f"{cell.question}" for cell, _ in done], fontsize="small")
    axis.invert_yaxis()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
