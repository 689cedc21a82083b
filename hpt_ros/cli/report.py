"""`hpt-ros report`: what scored trials show, as a page, as JSON and on the screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from hpt_ros.cli.output import console
from hpt_ros.evaluation.report import Evaluation, Group, group_mapping, grouped


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `hpt-ros evaluate` wrote.")],
    html: Annotated[Path | None, typer.Option(help="The page; default: report.html in the first folder.")] = None,
    json_out: Annotated[str, typer.Option("--json", help="File for the figures as JSON; - is standard output.")] = "",
    videos: Annotated[bool, typer.Option(help="Embed the videos of the trials in the page.")] = True,
) -> None:
    """Success, scores, comparisons with intervals: what the trials show, what they do not, and how many more would.

    Checkpoints are compared where they were tried from the same starts: in one evaluation, or in the simulator with the
    same task and seed.
    """
    from hpt_ros.evaluation.report_page import report_page

    groups = grouped([Evaluation.load(folder) for folder in folders])
    page = html or folders[0] / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(report_page(groups, videos))
    figures = json.dumps({"groups": [group_mapping(group) for group in groups]}, indent=2) + "\n"
    if json_out == "-":
        typer.echo(figures, nl=False)
    elif json_out:
        Path(json_out).write_text(figures)
    for group in groups:
        _show(group)
    console.print(f"{page}", markup=False)


def _show(group: Group) -> None:
    from hpt_ros.evaluation.report_page import HEADINGS, figures

    columns = [figures(candidate) for candidate in group.candidates()]
    table = Table(f"{group.conditions['task']}", *(column[0] for column in columns))
    for row, heading in enumerate(HEADINGS[1:], 1):
        table.add_row(heading, *(column[row] for column in columns))
    console.print(table, width=None if console.is_terminal else 160)
    for comparison in group.comparisons():
        for finding in comparison.findings():
            console.print(f"- {finding}", markup=False)
