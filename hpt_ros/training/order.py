"""Which windows a step takes, and its random numbers: functions of seed and step alone, so that any step can be repeated."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.errors import DataError


class Order:
    """Endless batches of indices below `count`.

    Every index comes once before any comes twice; with `weights` (count,), each is drawn with a probability in
    proportion to its weight instead.

    Raises:
        DataError: weights that leave nothing to draw.
    """

    def __init__(self, count: int, batch_size: int, seed: int, weights: NDArray[np.float64] | None = None) -> None:
        if weights is not None and not weights.sum() > 0:
            raise DataError("every episode has weight 0", "set scores.exponent: 0, or score some above 0")
        self._count, self._batch_size, self._seed = count, batch_size, seed
        self._shares = None if weights is None else weights / weights.sum()
        self._epoch = lru_cache(maxsize=2)(self._drawn)

    def batch(self, step: int) -> NDArray[np.int64]:
        """Indices (batch_size,) of step 0, 1, ..."""
        first = step * self._batch_size
        places = np.arange(first, first + self._batch_size)
        epochs = places // self._count
        parts = [self._epoch(int(epoch))[places[epochs == epoch] % self._count] for epoch in np.unique(epochs)]
        return np.concatenate(parts)

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((self._seed, epoch))
        if self._shares is None:
            return rng.permutation(self._count)
        return rng.choice(self._count, self._count, p=self._shares)


def seed_step(seed: int, step: int) -> None:
    """Set torch's generators for one step: dropout, drop-path and noise of step k are the same whatever ran before."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1)))
