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
Mean = Callable[[Array, Array], Array]
"""What K chunks want at N times, joints (K, N, J) [rad] with weights (K, N), as one (N, J)."""


def weighted_median(values: Array, weights: Array) -> Array:
    """Of (K, N, ...) with weights (K, N): for each of N one of the K values, that at which half of the weight is reached."""
    order = values.argsort(axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    weights = np.broadcast_to(weights.reshape(*weights.shape, *[1] * (values.ndim - 2)), values.shape)
    reached = np.take_along_axis(weights, order, axis=0).cumsum(axis=0)
    half = (reached >= reached[-1] / 2).argmax(axis=0)
    median: Array = np.take_along_axis(ordered, half[None], axis=0)[0]
    return median


def linear_mean(values: Array, weights: Array) -> Array:
    """The weighted mean (N, ...) of (K, N, ...), column by column."""
    share = weights / weights.sum(axis=0)
    mean: Array = (share.reshape(*share.shape, *[1] * (values.ndim - 2)) * values).sum(axis=0)
    return mean


class Strategy(Protocol):
    """`immediate`: a new chunk takes over as soon as it is there, not only after the rows to execute."""

    immediate: bool

    def reset(self) -> None:
        """Forget every chunk."""

    def join(self, chunk: Chunk, t_ns: int, position: Position) -> Chunk:
        """The chunk with its rows as they are to be executed from `t_ns` on.

        Only joints are ever averaged: a gripper width halfway between open and closed is neither.
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

    def __init__(self, blend_s: float, mean: Mean = linear_mean, immediate: bool = False) -> None:
        self._blend_ns, self._mean = blend_s * 1e9, mean
        self.immediate = immediate

    def reset(self) -> None:
        pass

    def join(self, chunk: Chunk, t_ns: int, position: Position) -> Chunk:
        done = (chunk.due_ns - t_ns) / self._blend_ns
        told = {i: position(int(chunk.due_ns[i])) for i in np.flatnonzero((done >= 0) & (done < 1))}
        old = {i: joints for i, joints in told.items() if joints is not None}
        if not old:
            return chunk
        at, before = list(old), np.array(list(old.values()))
        joints = before.shape[1]
        weight = done[at] ** 2 * (3 - 2 * done[at])
        rows = chunk.rows.copy()
        rows[at, :joints] = self._mean(np.stack([before, rows[at, :joints]]), np.stack([1 - weight, weight]))
        return replace(chunk, rows=rows)


class TemporalEnsemble:
    """The mean over all chunks that still say something about a time, weighted by `exp(-decay_per_s * age)`; of gripper widths
    the median by the same weights.

    The newest chunk alone would not do for the gripper: one that is made where the hand has just come to rest says "closed" a
    few rows later, and so does the next one.

    Source: Zhao et al., "Learning fine-grained bimanual manipulation with low-cost hardware", section 4.2, whose weights
    favour the oldest chunk: that is a negative `decay_per_s`.
    """

    immediate = True

    def __init__(self, decay_per_s: float, joints: int, mean: Mean = linear_mean) -> None:
        self._decay_per_s, self._joints, self._mean = decay_per_s, joints, mean
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
        wanted, widths, weights = [], [], []
        for other in self._chunks:
            says = (due_ns >= other.due_ns[0]) & (due_ns <= other.due_ns[-1])
            age_s = (chunk.observation_ns - other.observation_ns) * 1e-9
            wanted.append(_at(other, due_ns, joints))
            widths.append(other.rows[np.maximum(np.searchsorted(other.due_ns, due_ns, side="right") - 1, 0), joints:])
            weights.append(np.exp(-self._decay_per_s * age_s) * says)
        share = np.array(weights)
        mean = self._mean(np.array(wanted), share)
        return replace(chunk, rows=np.hstack([mean, weighted_median(np.array(widths), share)]))


def make_strategy(policy: Policy, joints: int, mean: Mean = linear_mean) -> Strategy:
    """The strategy that an embodiment names; `mean` is how it mixes what chunks want."""
    if policy.strategy == "blend":
        return Blend(policy.blend_s, mean, immediate=policy.execute_rows == 1)
    if policy.strategy == "temporal_ensemble":
        return TemporalEnsemble(policy.ensemble_decay_per_s, joints, mean)
    return RecedingHorizon()


def _at(chunk: Chunk, t_ns: NDArray[np.int64], joints: int) -> Array:
    """Joints of a chunk at times, linear between its rows: two chunks' rows need not be due at the same time."""
    start = chunk.due_ns[0]
    due, t = (chunk.due_ns - start).astype(float), (t_ns - start).astype(float)
    return np.column_stack([np.interp(t, due, chunk.rows[:, j]) for j in range(joints)])
