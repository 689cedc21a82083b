"""How long the rest of a session will take."""

from __future__ import annotations

from collections import deque
from statistics import median

_WINDOW = 10  # episodes


class Pace:
    """Time from one saved episode to the next, as a median, so that one long break does not count."""

    def __init__(self, now_s: float) -> None:
        self._last_s = now_s
        self._cycles_s: deque[float] = deque(maxlen=_WINDOW)

    def saved(self, now_s: float) -> None:
        """An episode was saved."""
        self._cycles_s.append(now_s - self._last_s)
        self._last_s = now_s

    def resumed(self, now_s: float) -> None:
        """A pause has ended: it is no part of any cycle."""
        self._last_s = now_s

    def left_s(self, missing: int) -> float | None:
        """Seconds until `missing` more episodes are saved; None before the first."""
        return missing * median(self._cycles_s) if self._cycles_s else None
