"""`hpt-ros demos`: look at demonstration sets, and exchange them with LeRobot."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from hpt_ros.cli.output import console, progress_bar

if TYPE_CHECKING:
    from hpt_ros.demos import Demos

_WIDTH = 160  # of a table in a file or a pipe

Set = Annotated[Path, typer.Argument(metavar="DEMOS", help="A demonstration set, e.g. demos/reach.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]

app = typer.Typer(
    help="Look at demonstration sets, and exchange them with LeRobot.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Format(str, Enum):
    """Formats that demonstrations are exported to."""

    LEROBOT = "lerobot"


@app.command()
def show(demos: Set) -> None:
    """One line per episode, and what the set says of itself."""
    from hpt_ros.demos import Demos

    opened = Demos.open(demos)
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = _WIDTH
    out.print(_episodes_table(opened))
    for key, value in _facts(opened).items():
        out.print(f"{key + ':':14}{value}", markup=False, soft_wrap=True)


@app.command()
def view(
    demos: Set,
    episode: Annotated[int, typer.Option(help="Its number, from 0, as in `demos show`.")] = 0,
    mcap: Annotated[Path | None, typer.Option(help="Write the episode to this file, for Foxglove.")] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Open the episode in Rerun.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write one episode as an MCAP file (layout: config/foxglove), or open it in Rerun."""
    from hpt_ros.demos import Demos
    from hpt_ros.demos.view import write_mcap
    from hpt_ros.demos.view_rerun import open_rerun
    from hpt_ros.paths import config_dir

    if mcap is None and not rerun:
        raise typer.BadParameter("say where the episode goes: --mcap FILE or --rerun")
    opened = Demos.open(demos)
    if mcap is not None:
        count = write_mcap(opened, episode, mcap, overwrite)
        layout = config_dir("foxglove") / "demonstration.json"
        console.print(f"{count} messages in {mcap}; layout for Foxglove: {layout}", markup=False)
    if rerun:
        open_rerun(opened, episode)


@app.command()
def export(
    demos: Set,
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    to: Annotated[Format, typer.Option(help="Format of the folder.")] = Format.LEROBOT,
    video: Annotated[bool, typer.Option("--video", help="AV1 videos: smaller, lossy. Otherwise PNG images.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a demonstration set in the format of another package: `--to lerobot`, dataset v3.0."""
    from hpt_ros.demos import Demos
    from hpt_ros.demos.lerobot_export import export as export_lerobot

    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder tells twenty lines per video otherwise
    with progress_bar() as bar:
        row = bar.add_task(f"export to {to.value}", total=None)
        report = export_lerobot(
            Demos.open(demos),
            out,
            video=video,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(row, completed=done, total=total),
        )
    console.print(f"{report.episodes} episodes, {report.frames} frames in {report.out}", markup=False)


@app.command("import")
def import_(
    dataset: Annotated[Path, typer.Argument(metavar="LEROBOT", help="A LeRobot dataset v3.0.")],
    out: Annotated[Path, typer.Argument(help="The demonstration set to write, e.g. demos/reach.")],
    embodiment: Annotated[
        str, typer.Option(help="Robot set-up, preset or file; default: the one that `export` stored.")
    ] = "",
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="THEIRS=OURS",
            help="A feature or an entry of one, e.g. observation.images.top=observation.images.front; repeatable.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Read a LeRobot dataset; features and their entries are found by name."""
    from hpt_ros.demos.lerobot_import import import_lerobot
    from hpt_ros.embodiment import load_embodiment

    names = [pair.partition("=") for pair in rename or []]
    if not all(theirs and ours for theirs, _, ours in names):
        raise typer.BadParameter(f"--rename takes THEIRS=OURS, found {', '.join(rename or [])}")
    robot = load_embodiment(embodiment) if embodiment else None
    with progress_bar() as bar:
        row = bar.add_task("import", total=None)
        report = import_lerobot(
            dataset,
            robot,
            out,
            rename={theirs: ours for theirs, _, ours in names},
            overwrite=overwrite,
            progress=lambda done, total: bar.update(row, completed=done, total=total),
        )
    console.print(f"{report.episodes} episodes, {report.ticks} ticks in {report.out}", markup=False)


def _episodes_table(demos: Demos) -> Table:
    table = Table("episode", "ticks", "s", "score", "task", "instruction", "operator", "termination", "source")
    period_s = demos.embodiment.policy.period_ns / 1e9
    for number, episode in enumerate(demos.episodes):
        ticks = episode.stop - episode.start
        figures = (number, ticks, f"{ticks * period_s:.1f}", f"{episode.score:g}")
        texts = (episode.task, episode.instruction, episode.operator, episode.termination, episode.source)
        table.add_row(*map(str, figures + texts))
    return table


def _facts(demos: Demos) -> dict[str, str]:
    """What holds for the whole set; `provenance` and `skipped` are as `convert` wrote them."""
    from hpt_ros.demos.store import INDEX

    index = json.loads((demos.path / INDEX).read_text())
    robot = demos.embodiment
    scores = [episode.score for episode in demos.episodes]
    sizes = {c.name: c.size_px for c in robot.cameras} | {c.name: c.size_px for c in robot.depth}
    facts = {
        "total": f"{len(scores)} episodes, {len(demos)} ticks, {len(demos) * robot.policy.period_ns / 1e9:.1f} s",
        "scores": ", ".join(f"{scores.count(score)} x {score:g}" for score in sorted(set(scores), reverse=True)),
        "taken over": "not told" if demos.intervention is None else f"{demos.intervention.sum()} ticks",
        "instructions": "; ".join(sorted({e.instruction for e in demos.episodes if e.instruction})) or "none",
        "embodiment": f"{robot.name} {demos.fingerprint}, {robot.policy.rate_hz:g} Hz",
        "cameras": ", ".join(f"{name} {height}x{width}" for name, (height, width) in sizes.items()),
        "on disk": _sizes(demos, index["images"]),
        "recorded by": ", ".join(sorted({episode.software for episode in demos.episodes})),
    }
    facts |= {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in index.get("provenance", {}).items()
        if value not in ({}, None)
    }
    left_out = index.get("skipped", [])
    return facts | ({"left out": "; ".join(f"{s['source']}: {s['reason']}" for s in left_out)} if left_out else {})


def _sizes(demos: Demos, images: dict[str, dict[str, str]]) -> str:
    """Of the whole set, and of each camera with the form of its frames and the bytes per frame."""
    parts = []
    for name, about in images.items():
        size = sum(path.stat().st_size for path in (demos.path / "images").glob(f"{name}.*"))
        parts.append(f"{name} {size / 1e6:.1f} MB ({about['form']}, {size / len(demos) / 1e3:.1f} kB a tick)")
    total = sum(path.stat().st_size for path in demos.path.rglob("*") if path.is_file())
    return ", ".join([f"{total / 1e6:.1f} MB", *parts])
