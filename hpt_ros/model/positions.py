"""Fixed position embeddings."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def add_positions(tokens: Tensor) -> Tensor:
    """Add the sin/cos table to tokens (N, L, D) along L."""
    table = _table if torch.compiler.is_compiling() else _kept_table  # compiled code knows its own constants
    return tokens + table(tokens.shape[1], tokens.shape[2], tokens.device, tokens.dtype)


def _table(length: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """sin in even columns, cos in odd ones, wavelengths 2 pi to 10000 * 2 pi ("Attention is all you need", section 3.5)."""
    column = torch.arange(width, dtype=torch.float64, device=device)
    place = torch.arange(length, dtype=torch.float64, device=device)
    angle = place[:, None] / 10000.0 ** (2 * torch.floor(column / 2) / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float().to(dtype)


@lru_cache(maxsize=64)
def _kept_table(length: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return _table(length, width, device, dtype)
