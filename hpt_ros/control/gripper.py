"""The gripper opens or closes; it is not streamed to: its calls block, and goals that arrive every tick queue up or abort."""

from __future__ import annotations

_CLOSE_BELOW, _OPEN_ABOVE = 0.4, 0.6  # of the maximum width
_STANDS_OPEN_ABOVE = 0.9  # of the maximum width, measured: less means that something may be held
MIN_INTERVAL_S = 0.5  # between two commands


class GripperSwitch:
    """Wanted widths in, the commanded width out: 0 or the maximum, with hysteresis, at most one change per interval.

    `target_m` is the width in force.
    """

    def __init__(self, max_width_m: float) -> None:
        self._max_width_m = max_width_m
        self._changed_ns: int | None = None
        self.target_m = max_width_m

    def start(self, measured_m: float) -> None:
        """Take over from where the fingers are, without a command."""
        self.target_m = self._max_width_m if measured_m > _STANDS_OPEN_ABOVE * self._max_width_m else 0.0
        self._changed_ns = None

    def update(self, wanted_m: float, now_ns: int) -> bool:
        """Whether the wanted width changes the command. Within the minimum interval it does not: the newest wish after it wins."""
        target = self.target_m
        if wanted_m < _CLOSE_BELOW * self._max_width_m:
            target = 0.0
        elif wanted_m > _OPEN_ABOVE * self._max_width_m:
            target = self._max_width_m
        early = self._changed_ns is not None and now_ns - self._changed_ns < MIN_INTERVAL_S * 1e9
        if target == self.target_m or early:
            return False
        self.target_m, self._changed_ns = target, now_ns
        return True
