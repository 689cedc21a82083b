"""`hpt-ros convert`: bags to demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from hpt_ros.cli.output import console, progress_bar

if TYPE_CHECKING:
    from hpt_ros.demos import ConvertReport


def convert(
    bags: Annotated[list[Path], typer.Argument(help="Bags, or folders that contain bags, e.g. bags/reach.")],
    out: Annotated[Path, typer.Option(help="The demonstration set to write, e.g. demos/reach.")],
    embodiment: Annotated[
        str, typer.Option(help="Robot set-up, preset or file; default: the one stored in the bags.")
    ] = "",
    min_score: Annotated[float, typer.Option(help="Leave out episodes scored below this (0, 0.5 or 1).")] = 0.5,
    allow_skips: Annotated[
        bool, typer.Option("--allow-skips", help="Convert the good bags when some are bad.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing demonstration set.")] = False,
) -> None:
    """Align recorded episodes at the policy rate, by the stamps of their messages."""
    from hpt_ros import demos
    from hpt_ros.embodiment import load_embodiment

    robot = load_embodiment(embodiment) if embodiment else None
    with progress_bar() as bar:
        row = bar.add_task("convert", total=None, note="")
        report = demos.convert(
            bags,
            robot,
            out,
            min_score=min_score,
            allow_skips=allow_skips,
            overwrite=overwrite,
            progress=lambda done, total, name: bar.update(row, completed=done, total=total, note=name),
        )
    for source, reason in report.skipped:
        console.print(f"left out {source}: {reason}", markup=False)
    console.print(_sync_table(report))
    console.print(
        f"{report.episodes} episodes, {report.ticks} ticks, {report.duration_s:.0f} s of demonstration in {report.out}"
    )


def _sync_table(report: ConvertReport) -> Table:
    table = Table(title="age of the samples used at the ticks", title_justify="left")
    for heading in ("stream", "mean ms", "p95 ms", "max ms", "Hz", "declared Hz"):
        table.add_column(heading, justify="left" if heading == "stream" else "right")
    for stream, figures in report.sync.items():
        ages = [f"{figures[key]:.1f}" for key in ("age_mean_ms", "age_p95_ms", "age_max_ms")]
        table.add_row(stream, *ages, f"{figures['rate_hz']:.1f}", f"{figures['declared_rate_hz']:g}")
    return table
