"""Chunks with due times become one continuous reference: positions, velocities and the gripper at any time.

The first `execute_rows` rows of a chunk are executed, then the newest chunk takes over. A strategy of `control/merging.py` may let
every chunk in as it comes, and so is a person's: he sees what the arm does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Chunk
from hpt_ros.control.merging import RecedingHorizon, Strategy

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """What is wanted at one time: joints (J,) in rad, rad/s and rad/s^2, the gripper width [m], and who wants it."""

    position: Array
    velocity: Array
    acceleration: Array
    gripper_m: float | None
    source: str


@dataclass(frozen=True)
class _Plan:
    """Knots of one chunk in force. The first is where the reference stood when the chunk took over."""

    due_ns: NDArray[np.int64]  # (K,)
    position: Array  # (K, J)
    velocity: Array  # (K, J)
    gripper_m: tuple[float | None, ...]  # in force from each knot on
    source: str
    by_human: bool

    def rows_due(self, t_ns: int) -> int:
        return int(np.searchsorted(self.due_ns, t_ns, side="right")) - 1


class Schedule:
    """One reference out of many chunks, without a jump in position or velocity where one takes over from another.

    Args:
        joints: columns of a row that are joint angles; one more column, if there is one, is the gripper width.
        strategy: how a chunk joins those before it; None is the receding horizon.
    """

    def __init__(self, joints: int, execute_rows: int, strategy: Strategy | None = None) -> None:
        self._joints, self._execute_rows = joints, execute_rows
        self._strategy = strategy or RecedingHorizon()
        self._plan: _Plan | None = None
        self._candidate: Chunk | None = None
        self.rows_late = self.seams = 0
        self.largest_seam_rad = 0.0

    def start(self, t_ns: int, position: Array, velocity: Array, gripper_m: float | None) -> None:
        """Forget every chunk; the next one sets out from this state."""
        self._candidate = None
        self._strategy.reset()
        self._plan = _Plan(
            np.array([t_ns], dtype=np.int64), position[None].copy(), velocity[None].copy(), (gripper_m,), "", False
        )

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        """Keep the chunk as the newest candidate. Rows that are due already will not be executed, and are counted."""
        self.rows_late += int((chunk.due_ns <= now_ns).sum())
        self._candidate = chunk

    def sample(self, t_ns: int) -> Reference | None:
        """The reference at a time that does not go back from call to call; None when no row is left."""
        plan = self._require_plan()
        if self._candidate is not None and self._may_take_over(self._candidate, t_ns):
            plan = self._plan = self._follow_on(self._strategy.join(self._candidate, t_ns, self._position), t_ns)
            self._candidate = None
        return None if t_ns > plan.due_ns[-1] else self._at(plan, t_ns)

    def _may_take_over(self, chunk: Chunk, t_ns: int) -> bool:
        plan = self._require_plan()
        if chunk.due_ns[-1] <= t_ns:
            return False
        rows_due, rows = plan.rows_due(t_ns), len(plan.due_ns) - 1
        return (
            self._takes_over_at_once(chunk)
            or rows_due >= min(self._execute_rows, rows)
            or plan.by_human != chunk.by_human
        )

    def _gripper_now(self, chunk: Chunk, first: int, before_m: float | None) -> float | None:
        """The width in force until row `first` is due.

        The wish of a row that is passed over counts; and where chunks follow each other faster than their rows are due, so
        does that of the first row: it would never be heard otherwise.
        """
        if first == 0 and not self._takes_over_at_once(chunk):
            return before_m
        row = chunk.rows[max(first - 1, 0), self._joints :]
        return float(row[0]) if row.size else before_m

    def _takes_over_at_once(self, chunk: Chunk) -> bool:
        return self._strategy.immediate or chunk.by_human

    def _position(self, t_ns: int) -> Array | None:
        plan = self._require_plan()
        return self._at(plan, t_ns).position if plan.due_ns[0] <= t_ns <= plan.due_ns[-1] else None

    def _follow_on(self, chunk: Chunk, t_ns: int) -> _Plan:
        """The chunk's plan from where the reference is at `t_ns`.

        A row that is due in less than half a period is passed over (unless it is the last): what the new chunk differs
        by is spread over at least that time.
        """
        now = self._at(self._require_plan(), t_ns)
        first = int(np.searchsorted(chunk.due_ns, t_ns + chunk.period_ns // 2))
        first = min(first, len(chunk.due_ns) - 1)
        self._count_seam(chunk, first)
        due_ns = np.concatenate([[t_ns], chunk.due_ns[first:]])
        position = np.vstack([now.position, chunk.rows[first:, : self._joints]])
        velocity = _slopes(due_ns, position)
        velocity[0] = now.velocity
        widths = chunk.rows[first:, self._joints :]
        gripper = (
            self._gripper_now(chunk, first, now.gripper_m),
            *(float(row[0]) if row.size else None for row in widths),
        )
        return _Plan(due_ns, position, velocity, gripper, chunk.source, chunk.by_human)

    def _count_seam(self, chunk: Chunk, first: int) -> None:
        """What a chunk's first row differs by from the plan before it: the jump that appending them would make."""
        before = self._position(int(chunk.due_ns[first]))
        if before is not None and len(self._require_plan().due_ns) > 1:
            self.seams += 1
            gap = float(np.abs(chunk.rows[first, : self._joints] - before).max())
            self.largest_seam_rad = max(self.largest_seam_rad, gap)

    def _at(self, plan: _Plan, t_ns: int) -> Reference:
        i = max(plan.rows_due(t_ns), 0)
        t = (t_ns - plan.due_ns[i]) * 1e-9
        start, v0 = plan.position[i], plan.velocity[i]
        if i == len(plan.due_ns) - 1:
            return Reference(start + t * v0, v0, np.zeros_like(v0), plan.gripper_m[i], plan.source)
        span = (plan.due_ns[i + 1] - plan.due_ns[i]) * 1e-9
        v1, slope = plan.velocity[i + 1], (plan.position[i + 1] - start) / span
        c2, c3 = (3 * slope - 2 * v0 - v1) / span, (v0 + v1 - 2 * slope) / span**2
        position = start + t * (v0 + t * (c2 + t * c3))
        velocity = v0 + t * (2 * c2 + t * 3 * c3)
        return Reference(position, velocity, 2 * c2 + t * 6 * c3, plan.gripper_m[i], plan.source)

    def _require_plan(self) -> _Plan:
        if self._plan is None:
            raise RuntimeError("the schedule was not started")
        return self._plan


def _slopes(due_ns: NDArray[np.int64], position: Array) -> Array:
    """Velocities (K, J) at the knots: of the parabola through three of them, bounded such that a cubic between two knots
    never leaves the interval that they span; 0 at the ends.

    The bound is Hyman's: SIAM J. Sci. Stat. Comput. 4 (1983).
    """
    velocity = np.zeros_like(position)
    span = np.diff(due_ns)[:, None] * 1e-9
    secant = np.diff(position, axis=0) / span
    before, after = secant[:-1], secant[1:]
    parabola = (before * span[1:] + after * span[:-1]) / (span[:-1] + span[1:])
    bound = np.where(before * after > 0, 3 * np.minimum(np.abs(before), np.abs(after)), 0.0)
    velocity[1:-1] = np.clip(parabola, -bound, bound)
    return velocity
