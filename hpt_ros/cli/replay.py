"""`hpt-ros replay`: a checkpoint against recorded demonstrations, and a demonstration on the arm."""

from __future__ import annotations

import functools
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hpt_ros.cli.options import Domain, LogDir
from hpt_ros.cli.output import console, progress_bar
from hpt_ros.cli.replay_on_arm import Place, replay_on_arm, tracking_table
from hpt_ros.embodiment import require_same

if TYPE_CHECKING:
    from hpt_ros.demos import Demos
    from hpt_ros.evaluation.replay import ColumnErrors
    from hpt_ros.model import Checkpoint

_SHOWN_ROWS = 5


def replay(
    checkpoint: Annotated[Path | None, typer.Argument(help="Folder of a checkpoint, e.g. runs/reach/last.")] = None,
    demos: Annotated[Path | None, typer.Argument(help="A demonstration set, e.g. demos/reach.")] = None,
    episodes: Annotated[
        str, typer.Option(help="Such as 0,3,5-9; default: those held out of training, all of another set.")
    ] = "",
    max_error_rad: Annotated[
        float | None, typer.Option(help="Exit 1 when a joint's p95 over the executed rows is above this.")
    ] = None,
    max_error_m: Annotated[float | None, typer.Option(help="The same for the gripper's width.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a PNG with the first of the episodes.")] = None,
    json_out: Annotated[str, typer.Option("--json", help="Also write the figures there; - for standard output.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 measures what is fastest here.")] = 1,
    on_arm: Annotated[
        Path | None, typer.Option("--on-arm", help="No checkpoint: send this demonstration set's commands to the arm.")
    ] = None,
    episode: Annotated[int, typer.Option(help="With --on-arm: which one.")] = 0,
    sim: Annotated[bool, typer.Option("--sim", help="With --on-arm: bring up the simulated Panda.")] = False,
    embodiment: Annotated[str, typer.Option(help="Robot set-up of the simulated Panda.")] = "sim_panda",
    task: Annotated[str, typer.Option(help="Task of the simulated scene; default: the demonstration's own.")] = "",
    seed: Annotated[
        int | None, typer.Option(help="Seed of the simulated scene; default: the demonstration's own.")
    ] = None,
    domain: Domain = None,
    log_dir: LogDir = Path("out/log"),
) -> int:
    """Show a policy recorded observations and compare its chunks with the commands that followed; nothing moves.

    A small error is necessary, not sufficient: mistakes do not add up here as they do on the arm (`hpt-ros evaluate`).
    With --on-arm DEMOS the arm moves: home, on to the first command of the episode, then along its commands, through the
    commander with all its limits; the tracking error of every joint is reported. Without --sim, joins running nodes.
    """
    if on_arm:
        return _on_arm(on_arm, episode, Place(sim, embodiment, task, seed, domain, log_dir), json_out)
    if checkpoint is None or demos is None:
        raise typer.BadParameter("give CHECKPOINT and DEMOS, or --on-arm DEMOS")
    return _open_loop(checkpoint, demos, episodes, max_error_rad, max_error_m, plot, json_out, threads)


def _on_arm(demos: Path, episode: int, place: Place, json_out: str) -> int:
    report = replay_on_arm(demos, episode, place)
    if json_out:
        _write(report, json_out)
    console.print(tracking_table(report))
    console.print(f"limiter active in {report['limited_ticks']} control ticks")
    if place.sim:
        console.print(f"{report['scene']}: {'success' if report['success'] else 'no success'}")
    return 0 if report["success"] in (True, None) else 1


def _open_loop(
    checkpoint: Path,
    demos: Path,
    episodes: str,
    max_error_rad: float | None,
    max_error_m: float | None,
    plot: Path | None,
    json_out: str,
    threads: int,
) -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
    from hpt_ros.demos import Demos
    from hpt_ros.evaluation.replay import above, column_errors, replay_episodes
    from hpt_ros.evaluation.replay_plot import replay_plot
    from hpt_ros.model import load_checkpoint

    loaded, data = load_checkpoint(checkpoint), Demos.open(demos)
    require_same(loaded.embodiment, data.embodiment, f"checkpoint {checkpoint}", f"demonstrations {demos}")
    chosen, which = _chosen(loaded, data, episodes)
    with progress_bar() as bar:
        row = bar.add_task("replay", total=len(chosen), note="")
        replays = replay_episodes(_actors(loaded, threads), data, chosen, lambda done: bar.update(row, completed=done))
        bar.update(row, completed=len(chosen))
    columns = column_errors(replays, data.embodiment)
    limits = {unit: limit for unit, limit in (("rad", max_error_rad), ("m", max_error_m)) if limit is not None}
    too_far = above(columns, limits)
    if plot:
        replay_plot(plot, replays[0], columns, data.embodiment.policy.period_ns * 1e-9)
    if json_out:
        ticks = sum(len(r.predicted) for r in replays)
        _write(
            {
                "checkpoint": str(checkpoint),
                "demos": str(demos),
                "episodes": chosen,
                "chosen": which,
                "ticks": ticks,
                "executed_rows": data.embodiment.policy.execute_rows,
                "columns": [asdict(column) for column in columns],
                "above": too_far,
            },
            json_out,
        )
    console.print(f"{len(chosen)} episodes: {which}", markup=False)
    console.print(_overall(columns, data.embodiment.policy.execute_rows))
    console.print(_by_row(columns, data.embodiment.policy.period_ns / 1e6))
    for sentence in too_far:
        console.print(sentence, markup=False)
    return 1 if too_far else 0


def _chosen(checkpoint: Checkpoint, demos: Demos, text: str) -> tuple[list[int], str]:
    """The episodes to replay, and why these."""
    from hpt_ros.evaluation.replay import select_episodes
    from hpt_ros.training.windows import all_episodes, data_hash, hold_out

    asked = select_episodes(text, len(demos.episodes))
    if text:
        return asked, "as asked for"
    provenance = checkpoint.provenance
    if provenance.get("data", {}).get("hash") != data_hash([demos]):
        return asked, "all of the set, which is not the one that the checkpoint was trained on"
    if "held_out" in provenance["data"]:
        held = [episode for _, episode in provenance["data"]["held_out"]]
        return _held_out(asked, held)
    fraction = provenance.get("settings", {}).get("validation", {}).get("fraction", 0)
    starts = {e.start for e in hold_out(all_episodes([demos]), fraction, provenance.get("seed", 0))[1]}
    return _held_out(asked, [i for i in asked if demos.episodes[i].start in starts])


def _held_out(asked: list[int], held: list[int]) -> tuple[list[int], str]:
    if not held:
        return asked, "all of the set, and the checkpoint was trained on every one"
    return [i for i in asked if i in held], "those held out of the checkpoint's training"


def _actors(checkpoint: Checkpoint, threads: int) -> Any:
    """A ready policy by instruction; policies without language have one for all."""
    from hpt_ros.model import PolicyRunner

    @functools.cache
    def ready(instruction: str) -> PolicyRunner:
        return PolicyRunner(checkpoint, threads=threads or None, instruction=instruction)

    follows = checkpoint.policy.config.language is not None
    return lambda instruction: ready(instruction if follows else "")


def _overall(columns: list[ColumnErrors], rows: int) -> Table:
    table = Table(title=f"absolute error over the {rows} executed rows", title_justify="left")
    for heading in ("command", "unit", "mean", "p95", "max", "mean of standing still"):
        table.add_column(heading, justify="left" if heading in ("command", "unit") else "right")
    for c in columns:
        table.add_row(c.name, c.unit, *(f"{x:.4f}" for x in (c.mean, c.p95, c.max, c.standing_still)))
    return table


def _by_row(columns: list[ColumnErrors], period_ms: float) -> Table:
    """A few rows of the horizon, the first and the last among them; the JSON has all, with mean and max."""
    count = len(columns[0].mean_by_row)
    shown = sorted({round(i * (count - 1) / (_SHOWN_ROWS - 1)) for i in range(_SHOWN_ROWS)})
    table = Table(title="p95 by row of the chunk", title_justify="left")
    table.add_column("command")
    for row in shown:
        table.add_column(f"+{(row + 1) * period_ms:.0f} ms", justify="right")
    for c in columns:
        table.add_row(c.name, *(f"{c.p95_by_row[i]:.4f}" for i in shown))
    return table


def _write(report: dict[str, Any], to: str) -> None:
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    sys.stdout.write(text) if to == "-" else Path(to).write_text(text)
