"""The trunk's tokens -> what the head reads."""

from __future__ import annotations

import torch
from torch import Tensor

from hpt_ros.model.batch import Tokens
from hpt_ros.model.config import Pooling


def pool(tokens: Tokens, pooling: Pooling, rows: int) -> Tensor:
    """Vector (N, D) by mean, max or last over the tokens that are kept; else tokens: the last `rows`, or all (N, L, D).

    Hidden tokens are left in place, as zeros, when all are asked for.
    """
    values, keep = tokens
    if pooling == "action_token":
        return values[:, -rows:]
    if keep is None:
        if pooling == "mean":
            return values.mean(dim=1)
        if pooling == "max":
            return values.amax(dim=1)
        return values[:, -1] if pooling == "last" else values
    shown = keep.unsqueeze(-1)
    if pooling == "mean":
        return (values * shown).sum(dim=1) / shown.sum(dim=1).clamp(min=1)
    if pooling == "max":
        return values.masked_fill(~shown, -torch.inf).amax(dim=1)
    if pooling == "last":
        newest = (keep * torch.arange(1, keep.shape[1] + 1, device=keep.device)).argmax(dim=1)
        return values[torch.arange(len(values), device=values.device), newest]
    return values * shown
