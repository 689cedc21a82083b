"""`hpt-ros audit`: what is wrong with bags or demonstrations, and what to do about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hpt_ros.cli.output import console, progress_bar

if TYPE_CHECKING:
    from hpt_ros.demos.audit import AuditReport

_COLOURS = {"harmful": "bold red", "suspect": "yellow", "note": "dim"}


def audit(
    paths: Annotated[list[Path], typer.Argument(help="Bags, folders that contain bags, or demonstration sets.")],
    html: Annotated[Path | None, typer.Option(help="Also write one HTML file with plots and pictures.")] = None,
    json_out: Annotated[str, typer.Option("--json", help="Also write everything there; - for standard output.")] = "",
) -> int:
    """Look for what would harm a policy: exit 1 when something of the highest severity is found."""
    from hpt_ros.demos.audit import audit as run_audit

    with progress_bar() as bar:
        row = bar.add_task("audit", total=None, note="")
        report = run_audit(
            paths, progress=lambda done, total, name: bar.update(row, completed=done, total=total, note=name)
        )
    if html is not None:
        from hpt_ros.demos.audit.page import html_page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(html_page(report, f"Audit of {', '.join(map(str, paths))}"))
        console.print(f"wrote {html}", markup=False)
    if json_out:
        text = json.dumps(report.to_mapping(), indent=1) + "\n"
        sys.stdout.write(text) if json_out == "-" else Path(json_out).write_text(text)
    _show(report)
    return 1 if report.harmful else 0


def _show(report: AuditReport) -> None:
    if report.groups:
        console.print(_table(report))
    for line in _lines(report.facts):
        console.print(line, markup=False)
    if report.left_out:
        console.print(f"not looked at, excluded by a person: {', '.join(report.left_out)}", markup=False)
    if not report.groups:
        console.print("nothing found")


def _table(report: AuditReport) -> Table:
    """One row per kind of finding, the most harmful first."""
    table = Table("harm", "finding", "where, the worst case, what to do", title_justify="left")
    table.title = "findings, the most harmful first"
    for group in report.groups:
        worst = group.worst
        about = f"{group.summary()}\n{worst.seen} (expected: {worst.expected})\n-> {worst.remedy}"
        table.add_row(f"[{_COLOURS[worst.severity]}]{worst.severity}[/]", group.kind, escape(about))
    return table


def _lines(facts: dict[str, Any]) -> list[str]:
    """What a person wants to know even if nothing is wrong."""
    if not facts:
        return ["no episode could be read"]
    length, scores = facts["duration_per_episode_s"], facts["scores"]
    lines = [
        f"{facts['episodes']} episodes, {facts['duration_s']:.0f} s ({length['min']:.1f} to {length['max']:.1f} s each), "
        f"scores {', '.join(f'{score}: {count}' for score, count in scores.items())}"
    ]
    if facts["idle_share"] is not None:
        lines.append(f"idle {facts['idle_share']:.0%} of the time")
    if (box := facts["coverage"]) is not None:
        sides = ", ".join(f"{axis} {box[f'{axis}_m'][0]:.2f} to {box[f'{axis}_m'][1]:.2f} m" for axis in "xyz")
        visited, share = box["voxels_visited"], box["share_of_workspace"]
        lines.append(f"the tool was at {sides}: {visited} cells of {box['voxel_m']:g} m, {share:.1%} of the workspace")
    lags = [joint["lag_ms"] for joint in facts["joints"].values() if joint["lag_ms"] is not None]
    if lags:
        lines.append(f"the arm follows its commands after {sorted(lags)[len(lags) // 2]:.0f} ms")
    return lines
