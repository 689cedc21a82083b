"""How a new chunk joins what is being executed: three strategies behind one call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Chunk
from hpt_ros.embodiment.schema import Policy

Array = NDArray[np.float64]
Position = Callable[[int], Array | None]
"""Joints (J,) that the motion in force will be at, at a time; None after its end."""


class Strategy(Protocol):
    """`immediate`: a new chunk takes over as soon as it is there, not only after the rows to execute."""

    immediate: bool

    def reset(self) -> None:
        """Forget every chunk."""

    def join(self, chunk: Chunk, t_ns: int, position: Position) -> Chunk:
        """The chunk with the joint columns of its rows as they are to be executed from `t_ns` on.

        Only joints are ever mixed: a gripper width halfway between open and closed is neither.
        """


class RecedingHorizon:
    """The chunk as it is."""

    immediate = False

    def reset(self) -> None:
        pass

    def join(self, chunk: Chunk, t_ns: int, position: Position) -> Chunk:
        return chunk


class Blend:
    """From the motion in force to the new chunk by a smooth weight over `blend_s`."""

    immediate = True

    def __init__(self, blend_s: float) -> None:
        self._blend_ns = blend_s * 1e9

    def reset(self) -> None:
        pass

    def join(self, chunk: Chunk, t_ns: int, position: Position) -> Chunk:
        rows = chunk.rows.copy()
        for row, due_ns in zip(rows, chunk.due_ns, strict=True):
            done = (int(due_ns) - t_ns) / self._blend_ns
            old = position(int(due_ns)) if 0 <= done < 1 else None
            if old is not None:
                weight = done * done * (3 - 2 * done)
                row[: len(old)] += (1 - weight) * (old - row[: len(old)])
        return replace(chunk, rows=rows)


class TemporalEnsemble:
    """The mean over all chunks that still say something about a time, weighted by `exp(-decay_per_s * age)`.

    Source: Zhao et al., "Learning fine-grained bimanual manipulation with low-cost hardware", section 4.2, whose weights
    favour the oldest chunk: that is a negative `decay_per_s`.
    """

    immediate = True

    def __init__(self, decay_per_s: float, joints: int) -> None:
        self._decay_per_s, self._joints = decay_per_s, joints
        self._chunks: deque[Chunk] = deque(maxlen=256)

    def reset(self) -> None:
        self._chunks.clear()

    def join(self, chunk: Chunk, t_ns: int, position: Position) -> Chunk:
        if self._chunks and self._chunks[-1].by_human != chunk.by_human:
            self._chunks.clear()  # a person's wish is not mixed with the policy's
        while self._chunks and self._chunks[0].due_ns[-1] <= t_ns:
            self._chunks.popleft()
        self._chunks.append(chunk)
        if chunk.by_human:
            return chunk
        due_ns, joints = chunk.due_ns, self._joints
        total, weights = np.zeros((len(due_ns), joints)), np.zeros((len(due_ns), 1))
        for other in self._chunks:
            says = (due_ns >= other.due_ns[0]) & (due_ns <= other.due_ns[-1])
            age_s = (chunk.observation_ns - other.observation_ns) * 1e-9
            weight = np.exp(-self._decay_per_s * age_s) * says[:, None]
            total += weight * _at(other, due_ns, joints)
            weights += weight
        return replace(chunk, rows=np.hstack([total / weights, chunk.rows[:, joints:]]))


def make_strategy(policy: Policy, joints: int) -> Strategy:
    """The strategy that an embodiment names."""
    if policy.strategy == "blend":
        return Blend(policy.blend_s)
    if policy.strategy == "temporal_ensemble":
        return TemporalEnsemble(policy.ensemble_decay_per_s, joints)
    return RecedingHorizon()


def _at(chunk: Chunk, t_ns: NDArray[np.int64], joints: int) -> Array:
    """Joints of a chunk at times, linear between its rows: two chunks' rows need not be due at the same time."""
    start = chunk.due_ns[0]
    due, t = (chunk.due_ns - start).astype(float), (t_ns - start).astype(float)
    return np.column_stack([np.interp(t, due, chunk.rows[:, j]) for j in range(joints)])
