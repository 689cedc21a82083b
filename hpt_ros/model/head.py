"""Head: pooled tokens -> a chunk of actions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class MLPHead(nn.Module):
    """Features (N, D) -> normalised chunk (N, horizon, action_dim) in (-1, 1)."""

    def __init__(self, input_dim: int, widths: Sequence[int], action_dim: int, horizon: int, dropout: float) -> None:
        super().__init__()
        self.shape = (horizon, action_dim)
        layers: list[nn.Module] = [nn.Linear(input_dim, widths[0]), nn.SiLU()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.Dropout(dropout), nn.LayerNorm(after), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], horizon * action_dim), nn.Tanh())

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.net(features).view(-1, *self.shape)
        return out
