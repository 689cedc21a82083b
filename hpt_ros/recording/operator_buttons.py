"""Presses out of the states of buttons: rising edges, without the bounces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hpt_ros.recording.operator import Event

DEBOUNCE_S = 0.05  # contacts of consumer joysticks settle within 20 ms
BUTTONS: Mapping[
    Event, int
] = {  # of joy_node with an Xbox pad: start, A, X, B, back; the two that trash an episode are off
    Event.START: 7,
    Event.SUCCESS: 0,
    Event.PARTIAL: 2,
    Event.FAIL: 1,
    Event.DISCARD: 6,
    Event.REDO: -1,
    Event.UNDO: -1,
}


class RisingEdges:
    """Buttons that went down, once each: a button counts again when it was up for `debounce_s`.

    What is down in the first message does not count: nobody pressed it now.
    """

    def __init__(self, debounce_s: float = DEBOUNCE_S) -> None:
        self._debounce_s = debounce_s
        self._before: Sequence[int] | None = None
        self._down_until_s: dict[int, float] = {}

    def update(self, buttons: Sequence[int], now_s: float) -> list[int]:
        """Indices of the buttons that have just gone down; `now_s` is a monotonic clock."""
        before, self._before = self._before, list(buttons)
        if before is None:
            return []
        self._down_until_s.update({i: now_s for i, down in enumerate(before) if down})
        return [
            i
            for i, down in enumerate(buttons)
            if down
            and not (i < len(before) and before[i])
            and now_s - self._down_until_s.get(i, -math.inf) >= self._debounce_s
        ]
