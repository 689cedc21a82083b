"""`hpt-ros bench`: figures of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from hpt_ros.benchmarks import BENCHMARKS, BenchReport, run_benchmark
from hpt_ros.benchmarks.page import bench_page
from hpt_ros.benchmarks.report import machine
from hpt_ros.cli.output import console
from hpt_ros.configuration import check

_WHEN_NAMED = {name for name, benchmark in BENCHMARKS.items() if benchmark.long}


def bench(
    name: Annotated[str, typer.Argument(help=f"{', '.join(BENCHMARKS)}; without one: all but soak.")] = "",
    json_out: Annotated[str, typer.Option("--json", help="File for the figures as JSON; - is standard output.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="A shorter run that proves less.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="How long loop (each phase) or soak measures.")
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="The same in minutes; soak: 60.")] = None,
    page: Annotated[Path, typer.Option(help="Without a name: the page that all are written to.")] = Path(
        "out/bench.md"
    ),
) -> int:
    """Run a benchmark, or all of them but the hour of soak onto one page; exit 1 when a goal is missed."""
    if not name:
        return _all(page, json_out, quick)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
    if minutes is not None:
        check(seconds is None, "minutes", minutes, "--seconds or --minutes, not both")
        seconds = 60 * minutes
    report = run_benchmark(name, quick, lambda what: console.print(what, markup=False), seconds)
    if json_out:
        text = json.dumps(report.to_mapping(), indent=1) + "\n"
        sys.stdout.write(text) if json_out == "-" else Path(json_out).write_text(text)
    _show(report)
    return 0 if all(goal.reached for goal in report.goals) else 1


def _all(page: Path, json_out: str, quick: bool) -> int:
    """Each in a process of its own, so that none finds the memory and threads of another."""
    reports: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for one in (name for name in BENCHMARKS if name not in _WHEN_NAMED):
            console.rule(one, align="left")
            figures = Path(folder) / f"{one}.json"
            command = [sys.executable, "-m", "hpt_ros.cli.main", "bench", one, "--json", str(figures)]
            code = subprocess.run(
                [*command, *(["--quick"] if quick else [])], stdout=sys.stderr, check=False
            ).returncode
            if figures.exists():
                reports[one] = json.loads(figures.read_text())
            else:
                failures[one] = f"exit code {code}"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(bench_page(reports, failures, quick))
    if json_out:
        text = json.dumps({"benchmarks": reports, "failures": failures}, indent=1) + "\n"
        sys.stdout.write(text) if json_out == "-" else Path(json_out).write_text(text)
    console.print(f"{page}", markup=False)
    reached = all(goal["reached"] for report in reports.values() for goal in report["goals"])
    return 0 if reached and not failures else 1


def _show(report: BenchReport) -> None:
    here = machine()
    console.print(f"{here['processor']}, {here['cores']} cores, load {here['load'][0]}", markup=False)
    if report.rows:
        table = Table(title=f"bench {report.name}", title_justify="left")
        columns = list(dict.fromkeys(key for row in report.rows for key in row))
        for column in columns:
            table.add_column(column, justify="right" if _numeric(report.rows, column) else "left")
        for row in report.rows:
            table.add_row(*(_text(row.get(column, "")) for column in columns))
        console.print(table, width=None if console.is_terminal else 200)
    for what, ratio in report.ratios.items():
        console.print(f"{what}: {ratio:.2f} x", markup=False)
    for goal in report.goals:
        sign = "<=" if goal.at_most else ">="
        verdict = "reached" if goal.reached else "MISSED"
        console.print(f"goal {verdict}: {goal.what}: {goal.found:g} {sign} {goal.limit:g}", markup=False)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)


def _numeric(rows: list[dict[str, Any]], column: str) -> bool:
    return all(isinstance(row.get(column, 0), (int, float)) for row in rows)


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
