"""`hpt-ros convert`: bags to demonstrations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from hpt_ros.cli.output import console, progress_bar
from hpt_ros.errors import ConfigError

if TYPE_CHECKING:
    from hpt_ros.demos import ConvertReport


def convert(
    bags: Annotated[list[Path], typer.Argument(help="Bags (folders, .mcap, .db3), or folders that contain bags.")],
    out: Annotated[Path, typer.Option(help="The demonstration set to write, e.g. demos/reach.")],
    embodiment: Annotated[
        str, typer.Option(help="Robot set-up, preset or file; default: the one stored in the bags.")
    ] = "",
    min_score: Annotated[float, typer.Option(help="Leave out episodes scored below this (0, 0.5 or 1).")] = 0.5,
    actions: Annotated[
        str, typer.Option(help="commanded, or next-state: the measured state, for arms guided by hand.")
    ] = "commanded",
    workers: Annotated[int, typer.Option(min=0, help="Bags at a time; 0: as many as there are cores.")] = 0,
    keep_idle: Annotated[
        bool, typer.Option("--keep-idle", help="Keep the time before the first and after the last motion.")
    ] = False,
    receive_time: Annotated[
        bool, typer.Option("--receive-time", help="Use the times of receipt where header stamps are useless.")
    ] = False,
    allow_slow: Annotated[
        bool, typer.Option("--allow-slow", help="Accept streams far below their declared rate.")
    ] = False,
    allow_skips: Annotated[
        bool, typer.Option("--allow-skips", help="Convert the good bags when some are bad.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing demonstration set.")] = False,
    task: Annotated[str, typer.Option(help="Of bags that another recorder made; needs --embodiment, --score.")] = "",
    score: Annotated[float | None, typer.Option(help="Of bags that another recorder made.")] = None,
    instruction: Annotated[str, typer.Option(help="Of bags that another recorder made.")] = "",
    type_map: Annotated[
        Path | None,
        typer.Option(help="YAML: topics or types of the bags, and what they are read as; for ROS 1, own types."),
    ] = None,
    msg_path: Annotated[
        list[Path] | None, typer.Option(help="A .msg file, or a folder of them, that the bags do not hold; repeatable.")
    ] = None,
) -> None:
    """Align recorded episodes at the policy rate, by the stamps of their messages.

    When it was interrupted, the same command goes on where it was.
    """
    from hpt_ros import demos
    from hpt_ros.configuration import from_mapping
    from hpt_ros.demos.pool import default_workers
    from hpt_ros.demos.settings import ConvertSettings
    from hpt_ros.demos.type_map import load_type_map
    from hpt_ros.embodiment import load_embodiment

    chosen = {
        "min_score": min_score,
        "actions": actions,
        "receive_time": receive_time,
        "keep_idle": keep_idle,
        "allow_slow": allow_slow,
    }
    settings = from_mapping(ConvertSettings, chosen | {"outside": _outside(embodiment, task, score, instruction)})
    settings = replace(settings, types=load_type_map(type_map, msg_path or []))
    robot = load_embodiment(embodiment) if embodiment else None
    with progress_bar() as bar:
        row = bar.add_task("convert", total=None, note="")
        report = demos.convert(
            bags,
            robot,
            out,
            settings,
            allow_skips=allow_skips,
            overwrite=overwrite,
            workers=workers or default_workers(),
            progress=lambda done, total, name: bar.update(row, completed=round(done, 2), total=total, note=name),
        )
    _tell(report)


def _outside(embodiment: str, task: str, score: float | None, instruction: str) -> dict[str, object] | None:
    if not task and score is None:
        return None
    if not (embodiment and task and score is not None):
        raise ConfigError(
            "--task",
            {"embodiment": embodiment, "task": task, "score": score},
            "--embodiment, --task and --score together",
            "they describe bags that another recorder made",
        )
    return {"task": task, "score": score, "instruction": instruction}


def _tell(report: ConvertReport) -> None:
    for source, reason in report.skipped:
        console.print(f"left out {source}: {reason}", markup=False)
    for source, remark in report.remarks:
        console.print(f"note: {source}: {remark}", markup=False)
    for source, seconds in report.idle_s.items():
        if seconds:
            console.print(f"idle: {source}: {seconds:.1f} s cut off", markup=False)
    console.print(_sync_table(report))
    if report.kept:
        console.print(f"{report.kept} episodes were finished by an earlier run")
    console.print(
        f"{report.episodes} episodes, {report.ticks} ticks, {report.duration_s:.0f} s of demonstration in {report.out}; "
        f"{sum(report.idle_s.values()):.1f} s of standing still cut off, {report.idle_share:.0%} of the rest stands still"
    )


def _sync_table(report: ConvertReport) -> Table:
    table = Table(title="age of the samples used at the ticks", title_justify="left")
    for heading in ("stream", "ticks with a sample", "mean ms", "p95 ms", "max ms", "Hz", "declared Hz"):
        table.add_column(heading, justify="left" if heading == "stream" else "right")
    for stream, figures in report.sync.items():
        ages = [f"{figures[key]:.1f}" for key in ("age_mean_ms", "age_p95_ms", "age_max_ms")]
        rates = [f"{figures['rate_hz']:.1f}", f"{figures['declared_rate_hz']:g}"]
        table.add_row(stream, f"{figures['match_share']:.1%}", *ages, *rates)
    return table
