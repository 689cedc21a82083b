"""Judges a motion that was commanded, by the robot's tables and forward kinematics: nothing of the limiter's own reckoning."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.guard import Guard
from hpt_ros.control.limits import TABLES, VelocityLimits
from hpt_ros.embodiment import Embodiment

Array = NDArray[np.float64]

_ROUNDING = 1e-4  # relative, of rates that are differences of positions
KINDS = ("position", "velocity", "acceleration", "jerk", "workspace", "table", "self-collision", "start", "finite")
SHARES = KINDS[:4]  # of these a share is used; of `KINDS[4:7]` room is left


class MotionCheck:
    """How much of each limit was used, at most, and how often it was passed, by kind of `KINDS`.

    `used`: shares of the limit (1: all of it); for room in space the least that was left [m].
    """

    def __init__(self, embodiment: Embodiment) -> None:
        safety, table = embodiment.safety, TABLES[embodiment.safety.limits]
        self._period_s = 1 / embodiment.command.rate_hz
        self._low = np.array(table.position_min) + safety.position_margin_rad
        self._high = np.array(table.position_max) - safety.position_margin_rad
        self._velocity = VelocityLimits(table, safety.velocity_fraction)
        self._acceleration = safety.acceleration_fraction * np.array(table.acceleration)
        self._jerk = safety.jerk_fraction * np.array(table.jerk)
        self._safety = safety
        self.passed = dict.fromkeys(KINDS, 0)
        self.used = dict.fromkeys(SHARES, 0.0) | dict.fromkeys(KINDS[4:7], np.inf)
        self.postures = 0

    def motion(self, q: Array, dq: Array, start: Array) -> None:
        """What was in force at consecutive ticks: positions and velocities (T, J), from rest at `start` (J,)."""
        self.postures += len(q)
        if not (np.isfinite(q).all() and np.isfinite(dq).all()):
            self.passed["finite"] += 1
            return
        self.passed["start"] += int(np.abs(q[0] - start).max() > 1e-9 or bool(dq[0].any()))
        self._share("position", np.maximum(self._low - q, q - self._high) + 1, np.ones(q.shape[1]), 1e-6)
        up, down = self._velocity.up(q), self._velocity.down(q)
        self._share("velocity", np.where(dq > 0, dq, -dq), np.where(dq > 0, up, down), _ROUNDING)
        steps, highest = np.diff(q, axis=0) / self._period_s, self._velocity.highest
        self._share("velocity", np.abs(steps), highest, _ROUNDING)
        rates = np.diff(dq, axis=0) / self._period_s
        self._share("acceleration", np.abs(rates), self._acceleration, _ROUNDING)
        self._share("jerk", np.abs(np.diff(rates, axis=0)) / self._period_s, self._jerk, _ROUNDING)
        self.postures_free(q)

    def postures_free(self, q: Array) -> None:
        """Postures (N, J) of a motion or of a brake: the tool in its box, no link in the table or in another."""
        rooms = Guard(self._safety).rooms(q)
        for kind, room in zip(("workspace", "table", "self-collision"), rooms.T, strict=True):
            self.used[kind] = min(self.used[kind], float(room.min()))
            self.passed[kind] += int((room < -1e-6).sum())

    def _share(self, kind: str, found: Array, limit: Array, tolerance: float) -> None:
        if not len(found):
            return
        excess = found - (1 + tolerance) * limit - 1e-9
        self.passed[kind] += int((excess > 0).any(axis=-1).sum())
        share = found / np.maximum(limit, 1e-9)
        self.used[kind] = max(self.used[kind], float(np.where(found > 1e-3, share, 0.0).max()))
