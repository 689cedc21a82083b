"""What a person sees while recording: a live view on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hpt_ros.recording.operator import Outcome, State

_STATE_STYLES = {
    State.READY: "bold white on blue",
    State.RECORDING: "bold white on red",
    State.ASKING: "bold black on yellow",
    State.PAUSED: "bold black on white",
    State.DONE: "bold white on green",
}
BAD = frozenset({Outcome.REFUSED, Outcome.LOST, Outcome.ERROR, Outcome.WARNING})
_LINE_PERIOD_S = 10.0


@dataclass(frozen=True)
class View:
    """All that is on the screen.

    Args:
        status: hpt_ros/EpisodeStatus.
        waiting: what the recorder was asked and has not answered yet.
        alert: the last thing that went wrong, until something goes right.
        left_s: estimated rest of the session; None: not known yet.
        silent_s: age of the status.
    """

    task: str
    instruction: str
    person: str
    state: State
    done: int
    target: int
    status: Any
    keys: Sequence[tuple[str, str]]
    note: str = ""
    waiting: str = ""
    alert: str = ""
    left_s: float | None = None
    silent_s: float = 0.0


class Display(Protocol):
    """Where a session is shown; a context manager."""

    def __enter__(self) -> Display: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, view: Any) -> None:
        """The present state."""

    def say(self, text: str, bad: bool = False) -> None:
        """A line that stays."""

    def pause(self) -> None:
        """Leave the terminal to somebody else."""

    def resume(self) -> None:
        """Take it back."""


def open_display(
    draw: Callable[[Any], RenderableType] | None = None, line: Callable[[Any], str] | None = None
) -> Display:
    """Live on a terminal, else lines, on standard error.

    `draw` makes the screen of a view and `line` its line, by default those of a recording; any view has `state`, `done`,
    `waiting` and `keys`.
    """
    console = Console(stderr=True, highlight=False)
    return LiveDisplay(console, draw or screen) if console.is_terminal else LineDisplay(console, line or progress)


class LiveDisplay:
    """Redraws one screen in place; what is said scrolls by above it."""

    def __init__(self, console: Console, draw: Callable[[Any], RenderableType]) -> None:
        self._console, self._draw = console, draw
        self._live = self._new_live()
        self._shown: Any = None

    def __enter__(self) -> LiveDisplay:
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def show(self, view: Any) -> None:
        """Redraw what has changed."""
        if self._live.is_started and view != self._shown:
            self._live.update(self._draw(view), refresh=True)
            self._shown = view

    def say(self, text: str, bad: bool = False) -> None:
        """Print above the screen."""
        self._console.print(Text(text, style="bold red" if bad else ""), soft_wrap=True)

    def pause(self) -> None:
        """Take the screen away and give the cursor back."""
        self._live.stop()

    def resume(self) -> None:
        """Begin a new screen below what is there now."""
        self._live, self._shown = self._new_live(), None
        self._live.start()

    def _new_live(self) -> Live:
        return Live(console=self._console, auto_refresh=False, transient=True)


class LineDisplay:
    """For a log: what is said, every change of state with its keys, and a line now and then."""

    def __init__(self, console: Console, line: Callable[[Any], str]) -> None:
        self._console, self._line = console, line
        self._shown: tuple[Any, int] = (None, 0)
        self._shown_s = 0.0

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def show(self, view: Any) -> None:
        """A line where the state is new or 10 s have passed."""
        now_s = time.monotonic()
        is_new = self._shown != (view.state, view.done)
        if view.waiting or not (is_new or now_s - self._shown_s > _LINE_PERIOD_S):
            return
        keys = ", ".join(f"{keys}: {label}" for keys, label in view.keys) if is_new else ""
        self.say(f"{view.state.value}  {self._line(view)}{f'  [{keys}]' if keys else ''}")
        self._shown, self._shown_s = (view.state, view.done), now_s

    def say(self, text: str, bad: bool = False) -> None:
        """A line."""
        self._console.print(f"warning: {text}" if bad else text, markup=False, soft_wrap=True)

    def pause(self) -> None:
        """Lines share a terminal with anybody."""

    def resume(self) -> None:
        """Lines share a terminal with anybody."""


def progress(view: View) -> str:
    """Count, running length and estimated rest in one line."""
    parts = [f"{view.done}/{view.target} done"]
    if view.state in (State.RECORDING, State.ASKING):
        parts.append(f"{view.status.duration_s:.1f} s")
    if view.left_s is not None and view.done < view.target:
        parts.append(f"about {_clock(view.left_s)} left")
    return ", ".join(parts)


def screen(view: View) -> RenderableType:
    """The live view."""
    state = Text.assemble(
        (f" {view.state.value} ", _STATE_STYLES.get(view.state, "bold")),
        "  ",
        (progress(view), "bold"),
        f"  {view.waiting} ..." if view.waiting else "",
    )
    lines: list[RenderableType] = [state, _keys(view)]
    if view.note:
        lines.append(Text(f"note: {view.note}", style="italic"))
    if view.silent_s:
        lines.append(Text(f"NO STATUS OF THE RECORDER FOR {view.silent_s:.0f} s", style="bold white on red"))
    if view.alert:
        lines.append(Text(view.alert, style="bold red"))
    lines += [Text(f"! {warning}", style="bold yellow") for warning in view.status.warnings]
    lines += [_topics(view.status), _disk(view.status)]
    subtitle = escape(f"{view.person}: {view.instruction}" if view.instruction else view.person)
    return Panel(Group(*lines), title=escape(view.task), subtitle=subtitle, title_align="left", subtitle_align="left")


def _keys(view: View) -> Text:
    parts = [Text.assemble((keys, "bold cyan"), f" {label}") for keys, label in view.keys]
    return Text("   ").join(parts)


def _topics(status: Any) -> Table:
    table = Table("topic", "Hz", "expected", "worst gap ms", "lost", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for i, topic in enumerate(status.topics):
        is_wrong = any(warning.startswith(f"{topic}:") for warning in status.warnings)
        drops = _at(status.drops, i)
        table.add_row(
            Text(topic),
            _number(_at(status.rates_hz, i)),
            _number(_at(status.expected_hz, i) or None),
            _number(_at(status.worst_gap_ms, i), ".0f"),
            Text(_number(drops, ".0f"), style="bold red" if drops else ""),
            style="bold yellow" if is_wrong else "",
        )
    return table


def _disk(status: Any) -> Text:
    free, needed = status.disk_free_bytes, status.disk_needed_bytes
    text = f"disk: {free / 1e9:.1f} GB free"
    if needed:
        text += f", {needed / 1e9:.1f} GB needed for the episodes that are missing"
    if status.bytes_per_s:
        text += f", {status.bytes_per_s / 1e6:.1f} MB/s"
    return Text(text, style="bold red" if needed > free else "dim")


def _at(values: Sequence[float], index: int) -> float | None:
    return float(values[index]) if index < len(values) else None


def _number(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else f"{value:{form}}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d} h" if hours else f"{minutes}:{rest:02d} min"
