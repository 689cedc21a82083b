"""Actions as classes, one of many for each value (RT-1, arXiv 2212.06817, section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from hpt_ros.model.heads.base import Head, HeadFacts, mean_over_valid
from hpt_ros.model.heads.mlp import hidden_layers


class BinsHead(Head):
    """Vector (N, D) -> a distribution over `bins` equal parts of [-1, 1] for each value of the chunk.

    Decodes to the mean over the likeliest bin and its two neighbours, finer than a bin where the network hesitates
    between two; with `draw`, to the centre of a random bin.
    """

    centers: Tensor

    def __init__(
        self,
        input_dim: int,
        widths: Sequence[int],
        action_dim: int,
        rows: int,
        dropout: float,
        bins: int,
        *,
        draw: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.draw = (rows, action_dim, bins), draw
        outputs = nn.Linear(widths[-1], rows * action_dim * bins)
        self.net = nn.Sequential(*hidden_layers(input_dim, widths, dropout), outputs)
        edges = torch.linspace(-1, 1, bins + 1)
        self.register_buffer("centers", (edges[:-1] + edges[1:]) / 2, persistent=False)

    @property
    def facts(self) -> HeadFacts:
        bins = self.shape[-1]
        return HeadFacts(
            "cross-entropy",
            1,
            False,
            f"resolution {2 / bins:.2g} of [-1, 1]; keeps the modes of each value but decides for each value by itself,"
            " so rows of one chunk may follow different ways",
            "values with few distinct levels, such as a gripper; one way is likelier than the others",
        )

    def loss(self, context: Tensor, action: Tensor, valid: Tensor) -> Tensor:
        bins = len(self.centers)
        wanted = ((action + 1) / 2 * bins).long().clamp(0, bins - 1)
        error = F.cross_entropy(self.logits(context).flatten(0, 2), wanted.flatten(), reduction="none")
        return mean_over_valid(error.view(action.shape).mean(dim=-1), valid)

    def sample(self, context: Tensor, generator: Generator | None = None) -> Tensor:
        probability = self.logits(context).softmax(dim=-1)
        if self.draw:
            drawn = torch.multinomial(probability.flatten(0, 2), 1, generator=generator)
            return self.centers[drawn].view(probability.shape[:-1]).to(context.dtype)
        likeliest = probability.argmax(dim=-1, keepdim=True)
        near = (torch.arange(len(self.centers), device=likeliest.device) - likeliest).abs() <= 1
        weight = probability * near
        return ((weight * self.centers).sum(dim=-1) / weight.sum(dim=-1)).to(context.dtype)

    def logits(self, context: Tensor) -> Tensor:
        """(N, rows, A, bins), float32."""
        logits: Tensor = self.net(context)
        return logits.float().view(-1, *self.shape)
