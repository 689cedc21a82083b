"""A stem for serving: the learnt queries are constants, so that keys, values and projections fold into two matrices."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpt_ros.model.batch import Features, Tokens
from hpt_ros.model.positions import add_positions
from hpt_ros.model.stem import Stem


class FoldedStem(nn.Module):
    """The same tokens as `Stem` in evaluation mode, from matrices that were folded once (`Stem.fold`)."""

    score: Tensor
    mix: Tensor
    mix_bias: Tensor

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        first: Any = stem.net[0]
        with torch.no_grad():
            folded = stem.fold(torch.float64)
            bias = stem.cross_attention.to_out.bias + folded.bias.sum(dim=0)
        self.register_buffer("score", folded.score.float())
        self.register_buffer("mix", folded.mix.float())
        self.register_buffer("mix_bias", bias.float())
        self.heads: int = stem.cross_attention.heads
        self.first: nn.Linear = first
        self._biases: dict[int, Tensor] = {}

    def forward(self, features: Features) -> Tokens:
        values, keep = features
        context = values.flatten(1, -2)
        hidden = F.silu(F.linear(context, self.first.weight) + self._bias(context.shape[1]))
        scores = self.score @ hidden.transpose(1, 2)
        any_seen = None
        if keep is not None:
            axes = keep.view(*keep.shape, *[1] * (values.ndim - 1 - keep.ndim))
            seen = axes.expand(values.shape[:-1]).flatten(1)
            any_seen = seen.any(dim=1, keepdim=True)
            scores = scores.masked_fill(~(seen | ~any_seen)[:, None], -torch.inf)
        attended = (scores.softmax(dim=-1) @ hidden).view(len(values), self.heads, -1, hidden.shape[-1])
        tokens = F.linear(attended.transpose(1, 2).flatten(2), self.mix, self.mix_bias)
        return Tokens(tokens, None if any_seen is None else any_seen.expand(tokens.shape[:2]))

    def _bias(self, length: int) -> Tensor:
        """What the first layer makes of the positions, (1, length, hidden)."""
        if length not in self._biases:
            nowhere = self.first.weight.new_zeros(1, length, self.first.in_features)
            self._biases[length] = self.first(add_positions(nowhere))
        return self._biases[length]
