"""`hpt-ros demo`: the whole walk on the simulated Panda, each stage by its own command."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from hpt_ros.cli.output import console
from hpt_ros.cli.walk import Stage, Walk, stages
from hpt_ros.errors import BusyError, HptRosError

_PATIENCE_S = 4.8


class StageError(HptRosError):
    """A stage of the walk ended with a refusal; it has said why."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the walk makes.")] = Path("out/demo"),
    task: Annotated[str, typer.Option(help="reach, lift or push.")] = "reach",
    episodes: Annotated[int | None, typer.Option(min=2, help="Demonstrations.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials of each network.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few demonstrations and steps: checks the plumbing in a minute.")
    ] = False,
    json_out: Annotated[str, typer.Option("--json", help="Also write the report there; - for standard output.")] = "",
) -> None:
    """Record, convert, fine-tune, deploy and score on the simulated Panda. A second run skips what is done."""
    walk = Walk.quick(out, task) if quick else Walk.full(out, task)
    walk = walk.changed(episodes=episodes, trials=trials, steps=steps)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        plan = stages(walk)
        for number, stage in enumerate(plan, 1):
            _run(walk, stage, f"[{number}/{len(plan)}] {stage.name}")
        report = walk.write_report()
    console.print(walk.screen(report))
    if json_out == "-":
        typer.echo(json.dumps(report, indent=2))
    elif json_out:
        Path(json_out).write_text(json.dumps(report, indent=2) + "\n")


@contextlib.contextmanager
def _alone(out: Path):  # type: ignore[no-untyped-def]
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(f"another walk writes to {out}", "choose another --out, or wait for it") from error
        yield


def _run(walk: Walk, stage: Stage, title: str) -> None:
    if walk.is_done(stage):
        console.print(f"{title}: done before")
        return
    console.rule(title, align="left")
    with walk.timed(stage):
        child = subprocess.Popen([sys.executable, "-m", "hpt_ros.cli.main", *stage.command], stdout=sys.stderr)
        try:
            code = child.wait()
        except BaseException:  # Ctrl-C reaches the child as well; give it time to end its nodes
            _end(child)
            raise
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise StageError(
            f"stage '{stage.name}' ended with code {code}: hpt-ros {' '.join(stage.command)}",
            f"logs are in {walk.log_dir}; run the same command again to go on",
        )
    walk.mark_done(stage)


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
