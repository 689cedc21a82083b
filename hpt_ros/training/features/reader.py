"""Cached features while training: rows of a memory map, gathered into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.model.batch import Features


class CachedFeatures:
    """The caches of several demonstration sets: `paths[set]` has the plain copy first, then those with changed images.

    `keep`, bool (M, P), tells padding from tokens where views differ in their number; None: all are tokens.
    """

    def __init__(self, paths: Mapping[Path, Sequence[Path]], keep: Tensor | None) -> None:
        self._maps = {demos: [np.load(path, mmap_mode="r") for path in copies] for demos, copies in paths.items()}
        self.copies = len(next(iter(self._maps.values())))
        self._keep = keep

    def gather(self, sets: Sequence[Path], rows: NDArray[np.int64], copies: NDArray[np.int64]) -> Features:
        """Features (B, T, M, P, D) in float32: window b has the rows (B, T) of its set, from one of the copies (B,)."""
        some = next(iter(self._maps.values()))[0]
        out = np.empty((*rows.shape, *some.shape[1:]), some.dtype)
        for i, (demos, copy) in enumerate(zip(sets, copies, strict=True)):
            np.take(self._maps[demos][copy], rows[i], axis=0, out=out[i], mode="clip")  # "raise" copies once more
        values = torch.from_numpy(out).float()
        return Features(values, None if self._keep is None else self._keep.expand(*rows.shape, -1, -1))
