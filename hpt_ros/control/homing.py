"""The way home: a straight line in joint space at a speed that a bystander can follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.schedule import Reference

Array = NDArray[np.float64]

SOURCE = "home"
SPEED_RAD_S = 0.3  # of the fastest joint, at most
SHORTEST_S = 0.5
ARRIVED_RAD = 0.02  # measured
PATIENCE_S = 5.0  # after the planned end, for an arm that lags or a limiter that slows down


class Homing:
    """From `start` (J,) at `t_ns` to `goal` (J,) [rad], at rest at both ends; the gripper stays as it is."""

    def __init__(self, t_ns: int, start: Array, goal: Array, gripper_m: float | None) -> None:
        self._t_ns, self._start, self._way, self._gripper_m = t_ns, start, goal - start, gripper_m
        peak = 15 / 8  # of the fifth-order profile below, relative to its mean speed
        self.duration_s = max(SHORTEST_S, peak * float(np.abs(self._way).max()) / SPEED_RAD_S)

    def sample(self, t_ns: int) -> Reference:
        """The reference at a time: minimum-jerk profile (Flash and Hogan, J. Neurosci. 5, 1985)."""
        s = min(max((t_ns - self._t_ns) * 1e-9 / self.duration_s, 0.0), 1.0)
        share = s**3 * (10 - 15 * s + 6 * s**2)
        speed = 30 * s**2 * (1 - s) ** 2 / self.duration_s
        change = 60 * s * (1 - s) * (1 - 2 * s) / self.duration_s**2
        return Reference(
            self._start + share * self._way, speed * self._way, change * self._way, self._gripper_m, SOURCE
        )

    def arrived(self, t_ns: int, q: Array) -> bool:
        """Whether the way has been gone and the measured joints (J,) are there."""
        ended = (t_ns - self._t_ns) * 1e-9 > self.duration_s
        return ended and bool(np.abs(q - self._start - self._way).max() <= ARRIVED_RAD)

    def overdue(self, t_ns: int) -> bool:
        """Whether the arm should have arrived long ago."""
        return (t_ns - self._t_ns) * 1e-9 > self.duration_s + PATIENCE_S
