"""The rows of a chunk: where a wanted motion takes the arm within the next periods, inside every limit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.schema import Policy
from hpt_ros.teleop.ik import DifferentialIK, Motion

Array = NDArray[np.float64]
Wanted = Callable[[Array, float], Motion] | None
"""The motion at joint angles (7,), so many seconds from now; None is to come to rest."""

_REST_RAD_S = 1e-4
_FEWEST_ROWS = 3


def row_count(policy: Policy, reach_s: float) -> int:
    """Rows that reach `reach_s` ahead: three at least, since a chunk ends at rest and its first row may be due already."""
    return min(max(math.ceil(reach_s * policy.rate_hz - 1e-9), _FEWEST_ROWS), policy.action_horizon)


class Target:
    """Where the arm is to be one period from now. It moves by what is wanted, never by what is measured: no drift, no jitter.

    `window` in the methods: joint angles (low (7,), high (7,)) [rad] around the measured ones, which it does not leave.
    """

    def __init__(self, ik: DifferentialIK, policy: Policy, reach_s: float) -> None:
        self._ik = ik
        self._period_s = policy.period_ns * 1e-9
        self._count = row_count(policy, reach_s)
        self.q, self.dq = np.zeros(7), np.zeros(7)

    def restart(self, q: Array) -> None:
        """Rest at `q` (7,) [rad]."""
        self.q, self.dq = q.copy(), np.zeros_like(q)

    @property
    def at_rest(self) -> bool:
        """Whether the target stands still."""
        return not self.dq.any()

    def advance(self, wanted: Wanted, step_s: float, window: tuple[Array, Array]) -> tuple[str, ...]:
        """Let `step_s` pass; the limits that held the motion back."""
        self.q, self.dq, limited_by = self._step(self.q, self.dq, wanted, 0.0, step_s, window)
        return limited_by

    def rows(self, wanted: Wanted, window: tuple[Array, Array]) -> Array:
        """Joint targets (R, 7) [rad] of a chunk: the target, and how it will go on if the device says nothing new."""
        rows, q, dq = [self.q], self.q, self.dq
        for i in range(1, self._count):
            q, dq, _ = self._step(q, dq, wanted, i * self._period_s, self._period_s, window)
            rows.append(q)
        return np.array(rows)

    def _step(
        self, q: Array, dq: Array, wanted: Wanted, ahead_s: float, step_s: float, window: tuple[Array, Array]
    ) -> tuple[Array, Array, tuple[str, ...]]:
        motion = wanted(q, ahead_s) if wanted else self._brake(dq, step_s)
        step = self._ik.solve(q, motion, dq, step_s, window)
        after = step.dq if np.abs(step.dq).max() > _REST_RAD_S else np.zeros_like(dq)
        return q + step_s * (dq + after) / 2, after, step.limited_by

    def _brake(self, dq: Array, step_s: float) -> Motion:
        """All joints slow down in proportion, the slowest to stop at its limit: the tool stays on its way."""
        stop_s = float((np.abs(dq) / self._ik.constraints.acceleration).max())
        return Motion(joints=dq * max(0.0, 1 - step_s / max(stop_s, 1e-9)))

    def held(self) -> Array:
        """The rows (R, 7) of an arm that stays where it is."""
        return np.tile(self.q, (self._count, 1))
