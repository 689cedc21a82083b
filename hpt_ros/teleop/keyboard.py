"""Keys of a terminal -> deflections and button presses. A terminal reports no release: a key counts for a while, then fades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.teleop.config import MOTIONS, Speed

Array = NDArray[np.float64]

HOLD_S = 0.25  # that a key counts; a key held down repeats sooner, once it has begun to repeat
_PRESS_S = 0.15  # that a button stays down after its key
_STEP_S = 0.1
STEP_M, STEP_RAD = 0.005, 0.035

MOTION_KEYS = {
    "w": ("x", 1),
    "s": ("x", -1),
    "a": ("y", 1),
    "d": ("y", -1),
    "r": ("z", 1),
    "f": ("z", -1),
    "u": ("roll", 1),
    "o": ("roll", -1),
    "i": ("pitch", 1),
    "k": ("pitch", -1),
    "j": ("yaw", 1),
    "l": ("yaw", -1),
}
ACTION_KEYS = {"space": "gripper", "h": "home", "t": "frame", "+": "faster", "-": "slower"}
STEP_KEY = "m"
LEGEND = (
    "w s x   a d y   r f z   u o roll   i k pitch   j l yaw   space gripper   h home   t base/tool   + - speed   "
    "m steps   e engage   p hold   c resume   x let go   q quit"
)


@dataclass
class _Pressed:
    since_s: float
    hold_s: float
    deflection: float


class Keyboard:
    """Keys that were pressed lately; times are seconds of a monotonic clock.

    In step mode every press is one small movement of about `STEP_M` or `STEP_RAD`.
    """

    def __init__(self, speed: Speed) -> None:
        self._speed = speed
        self._motions: dict[str, _Pressed] = {}
        self._actions: dict[str, float] = {}
        self.steps = False

    def press(self, key: str, now_s: float) -> bool:
        """Take a key, or one of its repeats; whether it means anything here. A key that is not one stops every motion."""
        if key == STEP_KEY:
            self.steps = not self.steps
            self._motions.clear()
        elif key in MOTION_KEYS:
            motion, sign = MOTION_KEYS[key]
            hold_s = _STEP_S if self.steps else HOLD_S
            self._motions[motion] = _Pressed(now_s, hold_s, sign * self._size(motion))
        elif key in ACTION_KEYS:
            self._actions[ACTION_KEYS[key]] = now_s
        else:
            self._motions.clear()
            return False
        return True

    def _size(self, motion: str) -> float:
        if not self.steps:
            return 1.0
        linear = motion in MOTIONS[:3]
        full, step = (self._speed.linear_m_s, STEP_M) if linear else (self._speed.angular_rad_s, STEP_RAD)
        return min(1.0, step / (full * _STEP_S))

    def deflections(self, now_s: float) -> Array:
        """Deflections (6,): full for the first half of the time that a key counts, then fading to 0."""
        result = np.zeros(len(MOTIONS))
        for motion, pressed in self._motions.items():
            left = 1 - (now_s - pressed.since_s) / pressed.hold_s
            fading = 1.0 if left > 0 and self.steps else float(np.clip(2 * left, 0.0, 1.0))
            result[MOTIONS.index(motion)] = fading * pressed.deflection
        return result

    def actions(self, now_s: float) -> frozenset[str]:
        """The actions whose buttons are down."""
        return frozenset(action for action, since_s in self._actions.items() if now_s - since_s < _PRESS_S)
