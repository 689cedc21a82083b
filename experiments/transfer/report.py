"""The results in docs/transfer.md: a table and a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from experiments.transfer.jobs import RESULT, Jobs
from experiments.transfer.plan import METHODS, SEEDS, Cell, Method, Plan
from hpt_ros.errors import DataError
from hpt_ros.evaluation.statistics import wilson_interval

NAMES: Mapping[Method, str] = {
    "pretrained": "pre-trained trunk",
    "scratch": "trunk from scratch",
    "no_trunk": "no trunk",
}
FIGURE = "transfer.png"


@dataclass(frozen=True)
class Row:
    """The seeds of one method and number of demonstrations together; `by_seed`: successes of each."""

    method: Method
    demos: int
    by_seed: tuple[int, ...]
    trials: int
    distance_m: float
    error_mrad: float
    loss: float

    @property
    def successes(self) -> int:
        """Of all seeds."""
        return sum(self.by_seed)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate, as if all trials were independent."""
        return wilson_interval(self.successes, self.trials)


def write_report(jobs: Jobs, docs: Path) -> str:
    """Write the page and the figure, of the seeds that all methods have; gives the table.

    Raises:
        DataError: there is none.
    """
    done = {count: [seed for seed in SEEDS if _complete(jobs, count, seed)] for count in jobs.plan.counts}
    rows = [_row(jobs, method, count, seeds) for count, seeds in done.items() if seeds for method in METHODS]
    if not rows:
        raise DataError(f"{jobs.out}: no seed is complete", "run the experiment without --report")
    table = _table(rows)
    docs.mkdir(parents=True, exist_ok=True)
    _draw(rows, docs / FIGURE)
    missing = [
        f"{count} demonstrations, seed {seed}" for count, seeds in done.items() for seed in SEEDS if seed not in seeds
    ]
    (docs / "transfer.md").write_text(_page(jobs.plan, rows, table, missing))
    return table


def _complete(jobs: Jobs, count: int, seed: int) -> bool:
    return all((jobs.cell(Cell(method, count, seed)) / RESULT).exists() for method in METHODS)


def _row(jobs: Jobs, method: Method, count: int, seeds: Sequence[int]) -> Row:
    results = [json.loads((jobs.cell(Cell(method, count, seed)) / RESULT).read_text()) for seed in seeds]
    trials = [trial for result in results for trial in result["trials"]]
    return Row(
        method=method,
        demos=count,
        by_seed=tuple(sum(t["success"] for t in result["trials"]) for result in results),
        trials=len(trials),
        distance_m=median(t["distance_m"] for t in trials),
        error_mrad=fmean(result["error_mrad"] for result in results),
        loss=fmean(result["loss"] for result in results),
    )


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "| demonstrations | method | success (95 % Wilson) | by seed | median distance at the end | error on unseen demonstrations | training loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row.interval
        lines.append(
            f"| {row.demos} | {NAMES[row.method]} | {row.successes}/{row.trials} ({low:.0%} to {high:.0%}) "
            f"| {', '.join(map(str, row.by_seed))} | {row.distance_m * 100:.1f} cm | {row.error_mrad:.1f} mrad | {row.loss:.4f} |"
        )
    return "\n".join(lines)


def _verdicts(rows: Sequence[Row]) -> list[str]:
    by = {(row.method, row.demos): row for row in rows}
    others: tuple[Method, ...] = ("scratch", "no_trunk")
    return [
        _verdict(by["pretrained", count], by[other, count])
        for count in sorted({r.demos for r in rows})
        for other in others
    ]


def _verdict(pre: Row, other: Row) -> str:
    (low, high), (other_low, other_high) = pre.interval, other.interval
    if low > other_high or other_low > high:
        better = "more often" if low > other_high else "less often"
        found = f"succeeds {better}; the intervals do not overlap"
    else:
        found = "the intervals overlap: no difference is shown"
    return (
        f"- {pre.demos} demonstrations, pre-trained against {NAMES[other.method]}: {pre.successes} against "
        f"{other.successes} of {pre.trials}: {found}; error {pre.error_mrad:.1f} against {other.error_mrad:.1f} mrad."
    )


def _page(plan: Plan, rows: Sequence[Row], table: str, missing: Sequence[str]) -> str:
    domains = "; ".join(f"{robot}: {task}, `{kind}`" for robot, task, kind in plan.pretrain_on)
    option = " --quick" if plan.name == "quick" else ""
    return f"""# Does a pre-trained trunk help a new robot?

{_caveat(plan, missing)}A trunk is pre-trained on simulated robots that differ in where the arm stands, in the length of the tool, in cameras and colours ({domains};
{plan.demos_each} demonstrations each, {plan.pretrain_steps} steps of {plan.draws} draws of {plan.batch_size} windows). Then a robot that it has not seen, with other base, tool,
camera and colours, learns a task that it has not seen either (`{plan.task}`) from few demonstrations: with the pre-trained trunk, with the same trunk from random
values, and without a trunk (the head reads the stems' tokens). Everything else is the same for all: {plan.steps} steps of {plan.batch_size} windows, rate {plan.lr:g}, no layer
frozen, image encoders from scratch, {plan.pixels} x {plan.pixels} pixels, width {plan.embed_dim}, {plan.num_blocks} blocks, {len(SEEDS)} seeds. {plan.trials} trials a policy, in closed loop in the simulator
without ROS, from random starts that no demonstration had and that are the same for all policies.

{table}

![Success and error over the number of demonstrations]({FIGURE})

{chr(10).join(_verdicts(rows))}

The intervals count all trials of a row as independent, which trials of one policy are not; the column of the seeds shows how far that carries.
*Error on unseen demonstrations*: mean absolute error of the joints over all rows of the chunks, {plan.check_demos} demonstrations from random starts.
No real images were part of it, and no image encoder was pre-trained, unlike the paper's frozen ResNet.

Again with `python -m experiments.transfer{option}` (robots in `experiments/transfer/robots.py`, sizes in `plan.py`). An interrupted run goes on; this page and its figure are written by it.
"""


def _caveat(plan: Plan, missing: Sequence[str]) -> str:
    text = ""
    if plan.name == "quick":
        text = (
            "**This is the small variant**, made to finish in minutes: a tiny network, a short pre-training with one seed, few steps and few trials. It shows that the\n"
            "experiment runs, not what pre-training is worth; the full one takes hours on two cores.\n\n"
        )
    return text + (f"**Not finished, and not in the table**: {'; '.join(missing)}.\n\n" if missing else "")


def _draw(rows: Sequence[Row], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (success, error) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for shift, method in enumerate(METHODS):
        own = [row for row in rows if row.method == method]
        at = [row.demos * 1.04 ** (shift - 1) for row in own]
        rates = [row.successes / row.trials for row in own]
        spread = [
            [rate - row.interval[0] for rate, row in zip(rates, own, strict=True)],
            [row.interval[1] - rate for rate, row in zip(rates, own, strict=True)],
        ]
        success.errorbar(at, rates, spread, marker="o", capsize=4, label=NAMES[method])
        error.plot(at, [row.error_mrad for row in own], marker="o", label=NAMES[method])
    counts = sorted({row.demos for row in rows})
    for axes, title in ((success, "Success, 95 % Wilson interval"), (error, "Error on unseen demonstrations [mrad]")):
        axes.set(title=title, xlabel="demonstrations of the new robot", xscale="log")
        axes.set_xticks(counts, labels=[str(count) for count in counts], minor=False)
        axes.minorticks_off()
    success.set_ylim(-0.02, 1.02)
    error.set_ylim(0, 1.15 * max(row.error_mrad for row in rows))
    success.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
