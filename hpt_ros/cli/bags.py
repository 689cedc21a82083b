"""`hpt-ros bags`: look at recordings, correct them without touching them, check that they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hpt_ros.cli.output import console, progress_bar

_WIDTH = 160  # of a table in a file or a pipe

Bags = Annotated[list[Path], typer.Argument(help="Bags, or folders that contain bags, e.g. bags/reach.")]
Reason = Annotated[str, typer.Option(help="Why; stands in the edits file.")]

app = typer.Typer(
    help="List, check and correct recordings; corrections lie in edits.json beside the bags.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_bags(bags: Bags) -> int:
    """One line per bag: length, score, how it ended, loss, corrections."""
    from hpt_ros.demos.bag import episode_name, find_bags, open_bag
    from hpt_ros.errors import DataError

    table = Table("bag", "s", "messages", "score", "termination", "operator", "lost", "edits")
    unreadable = []
    for path in find_bags(bags):
        try:
            with open_bag(path) as bag:
                lost = sum(_lost(facts) for facts in bag.metadata.topics.values())
                about = bag.metadata
                row = (f"{bag.duration_s:.1f}", bag.message_count, f"{bag.score:g}", about.termination, about.operator)
                table.add_row(episode_name(path), *map(str, row), str(lost), str(bag.edit))
        except DataError as error:
            unreadable.append(path)
            table.add_row(episode_name(path), "", "", "", "unreadable", "", "", error.message)
    _results().print(table)
    return 1 if unreadable else 0


@app.command()
def show(bag: Annotated[Path, typer.Argument(help="One bag.")]) -> None:
    """What a bag says of its episode and of each topic."""
    from hpt_ros.demos.bag import open_bag
    from hpt_ros.embodiment import fingerprint

    with open_bag(bag) as episode:
        about = episode.metadata
        facts = {
            "task": about.task,
            "instruction": about.instruction,
            "operator": about.operator,
            "score": f"{episode.score:g}" + (" (corrected)" if episode.edit.score is not None else ""),
            "termination": about.termination,
            "note": about.note,
            "embodiment": f"{about.embodiment.name} {fingerprint(about.embodiment)}",
            "software": about.software,
            "duration": f"{episode.duration_s:.2f} s",
            "edits": str(episode.edit),
        }
        out = _results()
        for key, value in facts.items():
            if value:
                out.print(f"{key + ':':13}{value}", markup=False)
        out.print(_topics_table(about.topics))
        for warning in about.warnings:
            out.print(f"warning at {warning}", markup=False)


@app.command()
def score(
    bags: Bags,
    value: Annotated[float, typer.Option("--score", help="0, 0.5 or 1.")],
    reason: Reason = "",
) -> None:
    """Correct the score of bags."""
    _edit(bags, reason, score=value)


@app.command()
def exclude(
    bags: Bags,
    undo: Annotated[bool, typer.Option("--undo", help="Take them in again.")] = False,
    reason: Reason = "",
) -> None:
    """Leave bags out of conversion."""
    _edit(bags, reason, excluded=not undo)


@app.command()
def trim(
    bags: Bags,
    start: Annotated[float, typer.Option(help="Seconds to cut off at the beginning.")] = 0.0,
    end: Annotated[float, typer.Option(help="Seconds to cut off at the end.")] = 0.0,
    reason: Reason = "",
) -> None:
    """Cut the ends of bags at conversion; zeros take everything in again."""
    _edit(bags, reason, trim_start_s=start, trim_end_s=end)


@app.command()
def verify(bags: Bags) -> int:
    """Read bags from end to end: checksums, counts, order of the stamps, fingerprint. Exit 1 names the bad ones."""
    from hpt_ros.demos.bag import find_bags
    from hpt_ros.recording.verify import verify as verify_bag

    paths, verdicts = find_bags(bags), []
    with progress_bar() as bar:
        row = bar.add_task("verify", total=len(paths), note="")
        for done, path in enumerate(paths):
            bar.update(row, completed=done, note=path.name)
            verdicts.append(verify_bag(path))
        bar.update(row, completed=len(paths))
    bad = [verdict for verdict in verdicts if verdict.problems]
    for verdict in bad:
        for problem in verdict.problems:
            console.print(f"{verdict.bag}: {problem}", markup=False)
    total = sum(verdict.messages for verdict in verdicts)
    console.print(f"{len(paths) - len(bad)} of {len(paths)} bags are whole, {total} messages read")
    return 1 if bad else 0


@app.command()
def salvage(bag: Annotated[Path, typer.Argument(help="One bag that was cut off.")]) -> None:
    """Copy what can be read of a damaged bag to .quarantine beside it, scored 0; the bag stays as it is."""
    from hpt_ros.recording.salvage import salvage_bag

    found = salvage_bag(bag)
    console.print(f"salvaged {found}")
    console.print(f"look at it, then: hpt-ros bags score {found.path} --score 1, and name it to hpt-ros convert")


def _edit(bags: list[Path], reason: str, **changes: Any) -> None:
    from hpt_ros.demos.bag import episode_name, find_bags
    from hpt_ros.recording.edits import change_edit

    if reason:
        changes["reason"] = reason
    for path in find_bags(bags):
        edit = change_edit(path, **changes)
        console.print(f"{episode_name(path)}: {str(edit) or 'as recorded'}", markup=False)


def _results() -> Console:
    """Standard output."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=_WIDTH)


def _topics_table(topics: Any) -> Table:
    columns = {
        "count": "messages",
        "rate_hz": "Hz",
        "gap_p50_ms": "gap p50 ms",
        "gap_p99_ms": "p99 ms",
        "gap_max_ms": "max ms",
        "lost_by_sequence": "lost",
        "missing_by_stamps": "missing by stamps",
    }
    table = Table("topic", *columns.values())
    for topic, facts in topics.items():
        table.add_row(topic, *(f"{facts[key]:g}" if key in facts else "not told" for key in columns))
    return table


def _lost(facts: Any) -> int:
    return int(max(facts.get("lost_by_sequence", 0), facts.get("missing_by_stamps", 0)))
