"""Progress goes to standard error, so that standard output stays free for results."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False, soft_wrap=True)
_LINE_PERIOD_S = 10.0


class ProgressBar(Protocol):
    """What the commands use of rich's Progress; every task has a `note` that stands at its end."""

    def add_task(self, description: str, *, total: float | None, completed: int = 0, note: str = "") -> Any: ...
    def update(self, task_id: Any, *, completed: float, total: float | None = None, note: str = "") -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Lines:
    """For a log file: a line every 10 s, and one at the end."""

    def __init__(self) -> None:
        self._tasks: list[tuple[str, float | None]] = []
        self._last = ""
        self._printed_s = self._began_s = time.monotonic()

    def add_task(self, description: str, *, total: float | None, completed: int = 0, note: str = "") -> int:
        self._tasks.append((description, total))
        return len(self._tasks) - 1

    def update(self, task_id: int, *, completed: float, total: float | None = None, note: str = "") -> None:
        description, expected = self._tasks[task_id]
        elapsed_s = time.monotonic() - self._began_s
        self._last = f"  {description}: {completed:g} of {total or expected or 0:g}, {elapsed_s:.0f} s  {note}"
        if time.monotonic() - self._printed_s > _LINE_PERIOD_S:
            self._print()

    def _print(self) -> None:
        if self._last:
            console.print(self._last, markup=False)
        self._last, self._printed_s = "", time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._print()


def progress_bar() -> ProgressBar:
    """On a terminal a bar with count, elapsed time and estimated rest; elsewhere a line now and then."""
    if not console.is_terminal:
        return _Lines()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
