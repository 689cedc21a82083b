"""Fixed position embeddings."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def add_positions(tokens: Tensor) -> Tensor:
    """Add the sin/cos table to tokens (N, L, D) along L."""
    table = torch.from_numpy(_table(tokens.shape[1], tokens.shape[2]))
    return tokens + table.to(device=tokens.device, dtype=tokens.dtype)


@lru_cache(maxsize=64)
def _table(length: int, width: int) -> NDArray[np.float32]:
    """sin in even columns, cos in odd ones, wavelengths 2 pi to 10000 * 2 pi ("Attention is all you need", section 3.5)."""
    column = np.arange(width)
    angle = np.arange(length)[:, None] / 10000.0 ** (2 * (column // 2) / width)
    table: NDArray[np.float32] = np.where(column % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)
    return table
