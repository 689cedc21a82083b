"""How well a control thread keeps its deadlines over hours, in memory that does not grow, and why it missed some."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from heapq import heappush, heappushpop
from typing import Any, NamedTuple

import numpy as np

MISSED_S = 0.010
"""A tick that begins or lasts longer than this after it was due is a missed deadline."""
PROCESSOR = "waited for a processor"
OWN_WORK = "own work"
INTERPRETER = "the main thread waited for a processor"
MAIN_WORK = "the main thread held the interpreter"
HOST = "the machine's host or kernel stopped a processor"
SHARED_LOCK = "waited for a lock that another process held"
OWN_LOCK = "waited for a lock within its process"
SYSTEM_CALL = "waited for the kernel"
SEVERAL = "several of these, none of them alone"
UNEXPLAINED = "unexplained"
_BIN_S = 1e-5
_BINS = 20_000  # up to 200 ms; the last holds all that is longer
_KEPT = 10_000
_CLOCK_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, order=True)
class Miss:
    """A missed deadline: by how much [s], when (Unix time); for how long the thread waited for a processor, worked, the
    main thread (which may hold the interpreter meanwhile) waited for a processor and worked, and the host took processors
    away [s].
    """

    late_s: float
    at_s: float
    waited_s: float
    worked_s: float
    main_waited_s: float
    main_worked_s: float
    stolen_s: float
    cause: str


class Histogram:
    """Durations [s] with percentiles exact to 10 us."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)
        self.count, self.largest_s = 0, 0.0

    def add(self, value_s: float) -> None:
        """Count one."""
        self._counts[min(max(int(value_s / _BIN_S), 0), _BINS - 1)] += 1
        self.count += 1
        self.largest_s = max(self.largest_s, value_s)

    def percentile_s(self, percent: float) -> float:
        """The upper end of the bin that holds it; 0.0 while empty."""
        if not self.count:
            return 0.0
        bin_ = int(np.searchsorted(np.cumsum(self._counts), percent / 100 * self.count))
        return min((bin_ + 1) * _BIN_S, self.largest_s)

    def to_mapping(self) -> dict[str, float]:
        """Percentiles and the largest, in ms."""
        marks = {f"p{percent:g}_ms": self.percentile_s(percent) for percent in (50, 99, 99.9)} | {
            "max_ms": self.largest_s
        }
        return {name: round(value_s * 1e3, 3) for name, value_s in marks.items()}


class Use(NamedTuple):
    """Since the thread began [s]: processor time, time spent waiting for a processor; both of the main thread; and since
    the machine started what a host took away from its processors, which counts whole clock ticks (10 ms).
    """

    ran_s: float
    waited_s: float
    main_waited_s: float
    stolen_s: float = 0.0
    main_ran_s: float = 0.0


class ThreadUse:
    """What the thread that made it has used. Source: /proc/thread-self/schedstat, /proc/stat; zeros where the kernel has none."""

    def __init__(self) -> None:
        self._files: list[int] = []
        with suppress(OSError):
            names = ("thread-self/schedstat", "self/schedstat", "stat")
            self._files = [os.open(f"/proc/{name}", os.O_RDONLY) for name in names]

    def __call__(self) -> Use:
        """Up to now."""
        if not self._files:
            return Use(0.0, 0.0, 0.0)
        own, main, machine = (os.pread(file, 256, 0).split() for file in self._files)
        return Use(
            int(own[0]) * 1e-9,
            int(own[1]) * 1e-9,
            int(main[1]) * 1e-9,
            int(machine[8]) / _CLOCK_HZ,
            int(main[0]) * 1e-9,
        )


class TickTimes:
    """Lateness and work of every tick. Call `woke` when a tick begins and `done` at its end, in one thread.

    Args:
        use: that thread's `ThreadUse`.
    """

    def __init__(self, use: Callable[[], Use]) -> None:
        self._use = use
        self.lateness, self.work = Histogram(), Histogram()
        self.causes: Counter[str] = Counter()
        self._worst: list[Miss] = []
        self._open: tuple[float, float, Use] | None = None
        self._before = use()
        self._woke_s, self._counts = time.monotonic(), False

    def woke(self, late_s: float, counts: bool = True) -> None:
        """The tick begins `late_s` after it was due; one in which nothing is commanded does not count."""
        self._woke_s, self._counts = time.monotonic(), counts
        self._note(self.lateness, late_s)

    def done(self) -> None:
        """The tick has ended."""
        self._note(self.work, time.monotonic() - self._woke_s)

    def to_mapping(self) -> dict[str, Any]:
        """All of it, the worst misses first. Ends the counting."""
        if self._open:
            self._judge(*self._open, 0.0)
            self._open = None
        return {
            "ticks": self.lateness.count,
            "lateness": self.lateness.to_mapping(),
            "work": self.work.to_mapping(),
            "missed": dict(self.causes),
            "worst": [asdict(miss) for miss in sorted(self._worst, reverse=True)],
        }

    def _note(self, histogram: Histogram, late_s: float) -> None:
        before, self._before = self._before, self._use()
        use = Use(*(now - then for now, then in zip(self._before, before, strict=True)))
        if self._open:
            self._judge(*self._open, use.stolen_s)
            self._open = None
        if not self._counts:
            return
        histogram.add(late_s)
        if late_s > MISSED_S:
            self._open = late_s, time.time(), use

    def _judge(self, late_s: float, at_s: float, use: Use, stolen_later_s: float) -> None:
        """What the host took is counted at the next tick of a processor's clock: some of it after the miss."""
        use = use._replace(stolen_s=use.stolen_s + stolen_later_s)
        cause = _cause(late_s, use)
        miss = Miss(late_s, at_s, use.waited_s, use.ran_s, use.main_waited_s, use.main_ran_s, use.stolen_s, cause)
        self.causes[miss.cause] += 1
        if len(self._worst) < _KEPT:
            heappush(self._worst, miss)
        else:
            heappushpop(self._worst, miss)


def _cause(late_s: float, use: Use) -> str:
    """What most of the time was. The host's share is known to 10 ms only, and whether the main thread's work held the
    interpreter is not known: they answer for what the others leave.
    """
    exact = {PROCESSOR: use.waited_s, OWN_WORK: use.ran_s, INTERPRETER: use.main_waited_s}
    known_s = sum(exact.values())
    if known_s >= late_s / 2:
        return max(exact, key=exact.__getitem__)
    if known_s + use.stolen_s >= late_s / 2:
        return HOST
    return MAIN_WORK if known_s + use.main_ran_s >= late_s / 2 else UNEXPLAINED
