"""What is known of the arm: measured, commanded, and whether the commander follows chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment

Array = NDArray[np.float64]
T = TypeVar("T")

_COMMAND_MAX_AGE_S = 0.2
_STATUS_MAX_AGE_S = 0.5
FOLLOWING = ("ENGAGING", "RUNNING")


@dataclass(frozen=True)
class Commanded:
    """The newest command: joints (J,) [rad] and [rad/s], the gripper width [m], and whose it is."""

    q: Array
    dq: Array
    width_m: float | None
    source: str


class ArmView:
    """Newest values with their ages; all times are seconds of one monotonic clock, of reception."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._joints = embodiment.joints
        self._has_gripper = embodiment.gripper is not None
        self._measured: tuple[float, Array] | None = None
        self._commanded: tuple[float, Commanded] | None = None
        self._commander: tuple[float, str] | None = None
        self.width_m: float | None = None

    def on_measured(self, q: Array, now_s: float) -> None:
        """Measured joints (J,) [rad]; such as are not finite count as none."""
        if np.isfinite(q).all():
            self._measured = (now_s, q)

    def on_width(self, width_m: float) -> None:
        """Measured width of the gripper [m]."""
        if np.isfinite(width_m):
            self.width_m = width_m

    def on_commanded(self, commanded: Commanded, now_s: float) -> None:
        """What the commander sent."""
        self._commanded = (now_s, commanded)

    def on_commander(self, state: str, now_s: float) -> None:
        """The commander's state."""
        self._commander = (now_s, state)

    def measured(self, now_s: float) -> Array | None:
        """The measured joints (J,) [rad], unless they are older than the embodiment allows."""
        return _fresh(self._measured, now_s, self._joints.timing.max_age_s)

    def commanded(self, now_s: float) -> Commanded | None:
        """The newest command, unless the commander has stopped sending."""
        return _fresh(self._commanded, now_s, _COMMAND_MAX_AGE_S)

    def commander(self, now_s: float) -> str:
        """The commander's state, empty if it does not run."""
        return _fresh(self._commander, now_s, _STATUS_MAX_AGE_S) or ""

    def hindrance(self, now_s: float) -> str:
        """Why the arm would not follow a chunk now; empty if it would."""
        state = self.commander(now_s)
        if self.measured(now_s) is None:
            return f"no fresh joint states on {self._joints.topic}"
        if self._has_gripper and self.width_m is None:
            return "the gripper's width has not been measured yet"
        if not state:
            return "the commander does not run"
        if state not in FOLLOWING:
            return f"the commander is {state}"
        if self.commanded(now_s) is None:
            return "the commander sends no commands"
        return ""


def _fresh(item: tuple[float, T] | None, now_s: float, max_age_s: float) -> T | None:
    return item[1] if item is not None and now_s - item[0] <= max_age_s else None
