"""Which sets and windows a step of pre-training learns from. A step's draws follow from seed and step alone, so that every
worker knows the draws of all, and a run that goes on after an interruption draws what it would have drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import DataError


@dataclass(frozen=True)
class Draw:
    """One set's part of a step: its number, which of its windows, and the seed of everything random that they meet."""

    source: int
    windows: NDArray[np.int64]
    seed: int


def probabilities(sizes: Sequence[int], exponent: float) -> NDArray[np.float64]:
    """Chance of each set: size ** exponent, normalised. 0 draws all alike, 1 draws every window alike, the paper takes 0.5.

    Raises:
        DataError: no set, or one without windows.
    """
    if not sizes or min(sizes) < 1:
        raise DataError(f"cannot draw from sets of {list(sizes)} windows", "leave out those that are empty")
    weights = np.asarray(sizes, np.float64) ** exponent
    chances: NDArray[np.float64] = weights / weights.sum()
    return chances


class Sampler:
    """Draws `draws` sets a step, and of each `batch_size` windows: without repetition in a draw where the set has so many."""

    def __init__(self, sizes: Sequence[int], exponent: float, draws: int, batch_size: int, seed: int) -> None:
        self.chances = probabilities(sizes, exponent)
        self._sizes, self._draws, self._batch_size, self._seed = tuple(sizes), draws, batch_size, seed

    def draws(self, step: int) -> list[Draw]:
        """What step 0, 1, ... learns from."""
        rng = np.random.default_rng((self._seed, step))
        sources = rng.choice(len(self._sizes), self._draws, p=self.chances)
        return [Draw(int(source), self._windows(rng, int(source)), int(rng.integers(2**31))) for source in sources]

    def _windows(self, rng: np.random.Generator, source: int) -> NDArray[np.int64]:
        size = self._sizes[source]
        return rng.choice(size, self._batch_size, replace=size < self._batch_size)
