"""What makes the robot stop by itself: the checks that Franka's controller runs on what it is told.

Flags are fields of `franka_msgs/Errors`. Sources: Franka control parameters documentation; libfranka's rate_limiting.h.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt_ros.control.limits import LimitTable

Array = NDArray[np.float64]
TORQUE_MAX_NM = np.array([87.0] * 4 + [12.0] * 3)
_ROUNDING = 1.01  # differences of positions over a millisecond


class Guard(ABC):
    """Looks at every millisecond's reference (7,) [rad], [rad/s] beside the measured state."""

    def restart(self, q: ArrayLike) -> None:  # noqa: B027 -- a guard without memory has nothing to forget
        """The arm stands still at `q` (7,) [rad]."""

    @abstractmethod
    def flag(self, q_ref: Array, dq_ref: Array, q: Array, dq: Array) -> str:
        """The error that this reference is; empty if none."""


class MotionGuard(Guard):
    """Of a motion generator: no limit is exceeded, and no step in velocity or (`jerk`) in acceleration.

    A trajectory controller on the position interface meets all of it; on the effort interface the robot sees torques
    alone, and this is stricter than the robot.
    """

    def __init__(self, table: LimitTable, period_s: float, jerk: bool = False) -> None:
        self._low, self._high = np.array(table.position_min), np.array(table.position_max)
        self._velocity = np.array(table.velocity) * _ROUNDING
        self._acceleration = np.array(table.acceleration) * _ROUNDING
        self._jerk = np.array(table.jerk) * _ROUNDING if jerk else None
        self._period_s = period_s
        self.restart(np.zeros(len(self._low)))

    def restart(self, q: ArrayLike) -> None:
        self._q = np.array(q, dtype=float)
        self._dq, self._ddq = np.zeros_like(self._q), np.zeros_like(self._q)

    def flag(self, q_ref: Array, dq_ref: Array, q: Array, dq: Array) -> str:
        velocity = (q_ref - self._q) / self._period_s
        acceleration = (velocity - self._dq) / self._period_s
        jerk = (acceleration - self._ddq) / self._period_s
        self._q, self._dq, self._ddq = q_ref.copy(), velocity, acceleration
        if (np.abs(acceleration) > self._acceleration).any():
            return "joint_motion_generator_velocity_discontinuity"
        if self._jerk is not None and (np.abs(jerk) > self._jerk).any():
            return "joint_motion_generator_acceleration_discontinuity"
        if (np.abs(velocity) > self._velocity).any():
            return "joint_motion_generator_velocity_limits_violation"
        if ((q_ref < self._low) | (q_ref > self._high)).any():
            return "joint_motion_generator_position_limits_violation"
        return ""


class TorqueGuard(Guard):
    """Of an impedance controller: what it asks of the motors, and how fast and far the arm really moves.

    Args:
        stiffness: of the controller (7,) [N m/rad].
    """

    def __init__(self, table: LimitTable, stiffness: ArrayLike) -> None:
        self._low, self._high = np.array(table.position_min), np.array(table.position_max)
        self._velocity = np.array(table.velocity)
        self._stiffness = np.asarray(stiffness, dtype=float)

    def flag(self, q_ref: Array, dq_ref: Array, q: Array, dq: Array) -> str:
        if (np.abs(self._stiffness * (q_ref - q)) > TORQUE_MAX_NM).any():
            return "tau_j_range_violation"
        if (np.abs(dq) > self._velocity).any():
            return "joint_velocity_violation"
        if ((q < self._low) | (q > self._high)).any():
            return "joint_position_limits_violation"
        return ""


class NoGuard(Guard):
    """Of mock hardware, which follows whatever it is told."""

    def flag(self, q_ref: Array, dq_ref: Array, q: Array, dq: Array) -> str:
        return ""
