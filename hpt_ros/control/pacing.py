"""Periods on the monotonic clock, and windowed statistics of how well they were kept."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

_READINGS = 5  # of two clocks, of which the closest pair counts


class Pacer:
    """Wakes at multiples of a period; a missed deadline is skipped, never made up for in a burst.

    `periods` counts the waits, `missed` the deadlines that were skipped.
    """

    def __init__(self, rate_hz: float) -> None:
        self.period_s = 1.0 / rate_hz
        self.periods = self.missed = 0
        self._deadline_s = time.monotonic()

    def wait(self) -> float:
        """Sleep until the next deadline and return how late it was met [s]."""
        now = time.monotonic()
        self.periods += 1
        self._deadline_s += self.period_s
        if now > self._deadline_s:
            skipped = int((now - self._deadline_s) / self.period_s) + 1
            self.missed += skipped
            self._deadline_s += skipped * self.period_s
        time.sleep(max(0.0, self._deadline_s - now))
        return time.monotonic() - self._deadline_s

    def deadline_ns(self, clock_ns: Callable[[], int]) -> int:
        """The deadline that was waited for last, on another clock [ns].

        A thread may lose its processor between the readings of the two clocks: the closest of a few pairs counts, so that
        the deadlines of an undisturbed clock stay a period apart.
        """
        closest_s, ahead_ns = float("inf"), 0
        for _ in range(_READINGS):
            before_s = time.monotonic()
            there_ns = clock_ns()
            apart_s = time.monotonic() - before_s
            if apart_s < closest_s:
                closest_s, ahead_ns = apart_s, there_ns - round((before_s + apart_s / 2) * 1e9)
            if closest_s < self.period_s / 100:
                break
        return ahead_ns + round(self._deadline_s * 1e9)


class Window:
    """Values of the last `window_s` seconds with their percentiles and rate; one thread adds, any thread reads.

    The lock is held for a copy at most: who adds must not wait for who sorts.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._values: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()
        self._sorted: tuple[tuple[float, float], list[float]] = ((0.0, 0.0), [])  # of the window between these times

    def add(self, value: float) -> None:
        """Add a value at the present time."""
        now = time.monotonic()
        with self._lock:
            self._values.append((now, value))
            self._forget(now)

    def percentile(self, percent: float) -> float:
        """The nearest-rank percentile, 0.0 for an empty window."""
        values = self._in_order()
        return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else 0.0

    def rate_hz(self) -> float:
        """Values per second between the first and the last of the window."""
        with self._lock:
            self._forget(time.monotonic())
            count, span_s = len(self._values), self._values[-1][0] - self._values[0][0] if self._values else 0.0
        return (count - 1) / span_s if span_s > 0 else 0.0

    def _in_order(self) -> list[float]:
        """Sorted once for all percentiles of one window."""
        with self._lock:
            self._forget(time.monotonic())
            if not self._values:
                return []
            span = (self._values[0][0], self._values[-1][0])
            known, ordered = self._sorted
            if span == known:
                return ordered
            recent = list(self._values)
        ordered = sorted([value for _, value in recent])
        self._sorted = (span, ordered)
        return ordered

    def _forget(self, now_s: float) -> None:
        while self._values and self._values[0][0] < now_s - self._window_s:
            self._values.popleft()
