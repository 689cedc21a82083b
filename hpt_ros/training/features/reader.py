"""Cached features while training: rows of a memory map, gathered into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.model.batch import Features

_PIECE = 256  # rows that go to a device at once


class CachedFeatures:
    """The caches of several demonstration sets: `paths[set]` has the plain copy first, then those with changed images.

    `keep`, bool (M, P), tells padding from tokens where views differ in their number; None: all are tokens.
    """

    def __init__(self, paths: Mapping[Path, Sequence[Path]], keep: Tensor | None) -> None:
        self._maps = {demos: [np.load(path, mmap_mode="r") for path in copies] for demos, copies in paths.items()}
        self.copies = len(next(iter(self._maps.values())))
        self._keep = keep
        self._resident: dict[Path, list[Tensor]] = {}
        self._pinned = False

    def place(self, device: torch.device, room_bytes: int) -> bool:
        """Keep all of it on a GPU, where batches are gathered then, if it takes at most `room_bytes` there; gives whether it does.

        Else batches for a GPU are gathered in page-locked memory, which it reads by itself.
        """
        if device.type != "cuda":
            return False
        if sum(rows.nbytes for maps in self._maps.values() for rows in maps) > room_bytes:
            self._pinned = True
            return False
        self._resident = {demos: [_moved(rows, device) for rows in maps] for demos, maps in self._maps.items()}
        return True

    def gather(self, sets: Sequence[Path], rows: NDArray[np.int64], copies: NDArray[np.int64]) -> Features:
        """Features (B, T, M, P, D) in float32: window b has the rows (B, T) of its set, from one of the copies (B,)."""
        values = self._of_device(sets, rows, copies) if self._resident else self._of_disk(sets, rows, copies)
        return Features(values, None if self._keep is None else self._keep.expand(*rows.shape, -1, -1))

    def _of_disk(self, sets: Sequence[Path], rows: NDArray[np.int64], copies: NDArray[np.int64]) -> Tensor:
        shape = next(iter(self._maps.values()))[0].shape[1:]
        out = torch.empty((*rows.shape, *shape), pin_memory=self._pinned)
        windows = out.numpy()
        for i, (demos, copy) in enumerate(zip(sets, copies, strict=True)):
            np.take(self._maps[demos][copy], rows[i], axis=0, out=windows[i], mode="clip")  # "raise" copies once more
        return out

    def _of_device(self, sets: Sequence[Path], rows: NDArray[np.int64], copies: NDArray[np.int64]) -> Tensor:
        some = next(iter(self._resident.values()))[0]
        out = some.new_empty((*rows.shape, *some.shape[1:]))
        windows_of: dict[tuple[Path, int], list[int]] = {}
        for i, (demos, copy) in enumerate(zip(sets, copies.tolist(), strict=True)):
            windows_of.setdefault((demos, copy), []).append(i)
        for (demos, copy), windows in windows_of.items():
            chosen = torch.from_numpy(rows[windows]).to(out.device)
            out[torch.tensor(windows, device=out.device)] = self._resident[demos][copy][chosen]
        return out


def _moved(rows: NDArray[np.float32], device: torch.device) -> Tensor:
    """A memory map on a device, piece by piece."""
    moved = torch.empty(rows.shape, device=device)
    for start in range(0, len(rows), _PIECE):
        moved[start : start + _PIECE] = torch.from_numpy(rows[start : start + _PIECE].copy())
    return moved
