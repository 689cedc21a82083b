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
    """The same tokens as `Stem` in evaluation mode, from fewer multiplications.

    Attention scores are q W_k W_2 h for hidden layer h, query and head; the bias of W_2 adds the same to all scores of a
    query, which softmax ignores. The output is W_o W_v (W_2 h' + b_2) for the attended h', as weights sum to one.
    """

    score: Tensor
    mix: Tensor
    mix_bias: Tensor

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        attention: Any = stem.cross_attention
        first: Any = stem.net[0]
        last: Any = stem.net[2]
        heads, width = attention.heads, stem.tokens.shape[-1]
        head_dim = attention.to_q.out_features // heads
        with torch.no_grad():
            w2, b2 = last.weight.double(), last.bias.double()
            query = (stem.tokens[0].double() @ attention.to_q.weight.double().T).view(-1, heads, head_dim)  # Q h d
            key, value = attention.to_kv.weight.double().view(2, heads, head_dim, width)  # h d E
            out = attention.to_out.weight.double().view(width, heads, head_dim)  # E h d
            score = torch.einsum("qhd,hde,ec->hqc", query, key, w2) / head_dim**0.5
            through = torch.einsum("ohd,hde->ohe", out, value)
            self.register_buffer("score", score.flatten(0, 1).float())  # (heads * Q, hidden)
            self.register_buffer("mix", (through @ w2).flatten(1).float())  # (E, heads * hidden)
            bias = attention.to_out.bias.double() + torch.einsum("ohe,e->o", through, b2)
            self.register_buffer("mix_bias", bias.float())
        self.heads: int = heads
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
