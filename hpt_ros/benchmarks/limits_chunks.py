"""Chunks as a policy should send them, and as a broken or hostile one might."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Chunk
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment import Embodiment, fingerprint

Array = NDArray[np.float64]


class ChunkMaker:
    """Random chunks of every kind of `KINDS` for one embodiment."""

    def __init__(self, embodiment: Embodiment, rng: np.random.Generator) -> None:
        self._embodiment, self.rng = embodiment, rng
        table = TABLES[embodiment.safety.limits]
        self._low, self._high = np.array(table.position_min), np.array(table.position_max)
        self._fingerprint = fingerprint(embodiment)
        self._rows, self._joints = embodiment.policy.action_horizon, len(embodiment.joints.names)

    def good(self, q: Array, now_ns: int) -> Chunk:
        """A slow motion away from joints `q` (J,) [rad]."""
        way = self.rng.uniform(-0.03, 0.03, self._joints)
        return self._chunk(q + way * np.arange(1, self._rows + 1)[:, None], now_ns)

    def make(self, kind: str, q: Array, now_ns: int) -> Chunk:
        """A chunk of the kind, for an arm at joints `q` (J,) [rad]."""
        if kind in _MOTIONS:
            rows = _MOTIONS[kind](self, q)
            return self._chunk(rows, now_ns)
        return _DAMAGES[kind](self, self.good(q, now_ns))

    def _chunk(self, joints: Array, now_ns: int) -> Chunk:
        width = self.rng.choice([0.0, 0.04, 0.08, -1.0, 1e3], len(joints))
        rows = np.column_stack([joints, width]) if self._embodiment.gripper else joints
        return Chunk(
            now_ns - int(self.rng.integers(1, 60_000_000)),
            self._embodiment.policy.period_ns,
            self._embodiment.command_names,
            rows,
            self._fingerprint,
            "teleop:bench" if self.rng.random() < 0.1 else "policy",
        )

    def _walk(self, q: Array, step_rad: float) -> Array:
        steps = self.rng.normal(0, step_rad, (self._rows, self._joints))
        walked: Array = q + steps.cumsum(axis=0)
        return walked

    def _jumps(self, q: Array) -> Array:
        return self.rng.uniform(self._low, self._high, (self._rows, self._joints))

    def _ends(self, q: Array) -> Array:
        high = self.rng.random((self._rows, self._joints)) < 0.5
        return np.where(high, self._high, self._low) + self.rng.normal(0, 0.05, high.shape)

    def _far(self, q: Array) -> Array:
        return self.rng.uniform(-1, 1, (self._rows, self._joints)) * 10.0 ** self.rng.integers(0, 308)

    def _spike(self, q: Array) -> Array:
        rows = self._walk(q, 0.01)
        rows[self.rng.integers(self._rows), self.rng.integers(self._joints)] += self.rng.choice([-3.0, 3.0, 1e6])
        return rows

    def _straight(self, q: Array, target: Array) -> Array:
        """To a posture, at a speed of up to that of all limits together."""
        reached_at = self.rng.integers(1, 3 * self._rows)
        share = np.minimum(np.arange(1, self._rows + 1) / reached_at, 1.0)[:, None]
        way: Array = q + share * (target - q)
        return way

    def _down(self, q: Array) -> Array:
        """Into the table."""
        reach = q + np.array([0, self.rng.uniform(0.2, 1.2), 0, self.rng.uniform(-0.5, 0.8), 0, 0, 0])
        return self._straight(q, reach)

    def _fold(self, q: Array) -> Array:
        """Into itself."""
        folded = np.array([q[0], self.rng.uniform(0.5, 1.7), q[2], -3.0, self.rng.normal(0, 1), 0.5, q[6]])
        return self._straight(q, folded)


_MOTIONS: Mapping[str, Callable[[ChunkMaker, Array], Array]] = {
    "slow": lambda maker, q: maker._walk(q, 0.01),
    "quick": lambda maker, q: maker._walk(q, 0.1),
    "jumps": ChunkMaker._jumps,
    "end stops": ChunkMaker._ends,
    "far": ChunkMaker._far,
    "spike": ChunkMaker._spike,
    "into the table": ChunkMaker._down,
    "into itself": ChunkMaker._fold,
}


def _not_finite(maker: ChunkMaker, chunk: Chunk) -> Chunk:
    rows = chunk.rows.copy()
    rows[maker.rng.integers(len(rows)), maker.rng.integers(rows.shape[1])] = maker.rng.choice([np.nan, np.inf, -np.inf])
    return replace(chunk, rows=rows)


def _size(maker: ChunkMaker, chunk: Chunk) -> Chunk:
    shapes = [chunk.rows[:0], chunk.rows[:, :-1], np.vstack([chunk.rows, chunk.rows]), chunk.rows.reshape(-1)]
    return replace(chunk, rows=shapes[maker.rng.integers(len(shapes))])


def _period(maker: ChunkMaker, chunk: Chunk) -> Chunk:
    return replace(chunk, period_ns=int(maker.rng.choice([0, -chunk.period_ns, 1, 10**18, 2 * chunk.period_ns])))


def _stamp(maker: ChunkMaker, chunk: Chunk) -> Chunk:
    shift_ns = int(maker.rng.choice([-(10**18), -(10**9), 10**9, 10**17]))
    return replace(chunk, observation_ns=chunk.observation_ns + shift_ns)


_DAMAGES: Mapping[str, Callable[[ChunkMaker, Chunk], Chunk]] = {
    "not finite": _not_finite,
    "size": _size,
    "period": _period,
    "stamp": _stamp,
    "names": lambda maker, chunk: replace(chunk, names=tuple(reversed(chunk.names))),
    "fingerprint": lambda maker, chunk: replace(chunk, fingerprint="0" * 16),
    "source": lambda maker, chunk: replace(chunk, source="somebody"),
}

MOTIONS = tuple(_MOTIONS)
KINDS = (*_MOTIONS, *_DAMAGES)
