"""The published head: a multi-layer perceptron that gives the whole chunk at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from hpt_ros.model.heads.base import Head, HeadFacts, mean_over_valid

HUBER_BETA = 0.05  # in normalised units, as in the published training code


class MLPHead(Head):
    """Vector (N, D) -> chunk; with `per_row`, one action token (N, rows, D) -> one row. Source: HPT, section 3.3."""

    def __init__(
        self,
        input_dim: int,
        widths: Sequence[int],
        action_dim: int,
        rows: int,
        dropout: float,
        *,
        per_row: bool = False,
    ) -> None:
        super().__init__()
        self.shape = (rows, action_dim)
        outputs = action_dim if per_row else rows * action_dim
        self.net = nn.Sequential(*hidden_layers(input_dim, widths, dropout), nn.Linear(widths[-1], outputs), nn.Tanh())

    @property
    def facts(self) -> HeadFacts:
        return HeadFacts(
            "smooth L1 (beta 0.05)",
            1,
            False,
            "deterministic; averages over modes",
            "first try, and whenever demonstrations agree on one way",
        )

    def loss(self, context: Tensor, action: Tensor, valid: Tensor) -> Tensor:
        return huber(self.sample(context), action, valid)

    def sample(self, context: Tensor, generator: Generator | None = None) -> Tensor:
        chunk: Tensor = self.net(context)
        return chunk.view(-1, *self.shape)


def hidden_layers(input_dim: int, widths: Sequence[int], dropout: float) -> list[nn.Module]:
    """The published perceptron up to its last hidden layer."""
    layers: list[nn.Module] = [nn.Linear(input_dim, widths[0]), nn.SiLU()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.Dropout(dropout), nn.LayerNorm(after), nn.SiLU()]
    return layers


def huber(chunk: Tensor, action: Tensor, valid: Tensor) -> Tensor:
    """The published loss: smooth L1 over the valid rows."""
    rows = F.smooth_l1_loss(chunk, action, beta=HUBER_BETA, reduction="none").mean(dim=-1)
    return mean_over_valid(rows, valid)
