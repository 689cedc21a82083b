"""All benchmarks of a machine on one page, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def bench_page(reports: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str], quick: bool) -> str:
    """Markdown of reports by name, as `BenchReport.to_mapping` gives them; `failures` say why others are missing."""
    lines = ["# Benchmarks", ""]
    if quick:
        lines += ["Short runs (`--quick`): they prove less than full ones.", ""]
    if reports:
        lines += _machine(next(iter(reports.values())))
    for name, report in reports.items():
        lines += _section(name, report)
    for name, reason in failures.items():
        lines += [f"## {name}", "", f"Did not run: {reason}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _machine(report: Mapping[str, Any]) -> Iterator[str]:
    machine = report["machine"]
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}."
    yield ""
    yield ", ".join(f"{package} {version}" for package, version in report["versions"].items()) + "."
    yield ""


def _section(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    settings = ", ".join(f"{key}: {_text(v)}" for key, v in report["settings"].items() if not _is_detail(v))
    yield f"`hpt-ros bench {name}`; load of the machine at its end {report['machine']['load'][0]}. {settings}"
    yield ""
    if rows := report["rows"]:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        yield from _table(columns, [[_text(row.get(column, "")) for column in columns] for row in rows])
    if report["ratios"]:
        yield from _table(["ratio", ""], [[what, f"{ratio:.2f} x"] for what, ratio in report["ratios"].items()])
    if goals := report["goals"]:
        rows = [[g["what"], _text(g["found"]), _limit(g), "reached" if g["reached"] else "**missed**"] for g in goals]
        yield from _table(["goal", "found", "limit", ""], rows)
    for note in report["notes"]:
        yield f"- {note}"
    if report["notes"]:
        yield ""


def _is_detail(value: Any) -> bool:
    """Single events and the like, which the JSON file holds."""
    return isinstance(value, Mapping) or (isinstance(value, Sequence) and any(isinstance(v, Mapping) for v in value))


def _limit(goal: Mapping[str, Any]) -> str:
    return f"{'<=' if goal['at_most'] else '>='} {_text(goal['limit'])}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
