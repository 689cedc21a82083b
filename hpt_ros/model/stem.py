"""Stem: the features of one modality of one embodiment -> a fixed number of tokens that any trunk can read."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpt_ros.model.attention import attend
from hpt_ros.model.batch import Features, Tokens
from hpt_ros.model.positions import add_positions


class CrossAttention(nn.Module):
    """Learnt queries (1, Q, D) attend to each context of a batch (N, L, D), giving (N, Q, D); no residual, as published.

    `keep`, bool (N, L), hides parts of the context; each context must keep one part at least.
    """

    def __init__(self, width: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_q = nn.Linear(width, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, width)

    def forward(self, queries: Tensor, context: Tensor, keep: Tensor | None = None) -> Tensor:
        q = self._split(self.to_q(queries)).expand(len(context), -1, -1, -1)
        k, v = map(self._split, self.to_kv(context).chunk(2, dim=-1))
        mask = None if keep is None else keep[:, None, None]
        dropout = self.dropout if self.training else 0.0
        attended = attend(q, k, v, mask, dropout)
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Folded(NamedTuple):
    """A stem whose learnt queries, keys, values and projections are three matrices on its hidden layer.

    score: (heads * Q, hidden), the attention's scores.
    mix, bias: (D, heads * hidden) and (heads, D): what the attended hidden layer becomes, and what a head adds in
        proportion to the sum of its weights, which is one without dropout; the output's own bias comes on top.
    """

    score: Tensor
    mix: Tensor
    bias: Tensor


CONTEXT_GAIN = 4.0  # torch's default starts the context so small that attention hardly tells its tokens apart


FOLD_FROM = 4096
"""Parts of contexts in a batch from which folding a stem's matrices costs less than it saves."""


class Stem(nn.Module):
    """Features (N, T, M, ..., D) of T samples and M views -> tokens (N, Q, embed_dim).

    Positions count the flattened T*M*... axis, hidden parts included, so that a view that is missing moves no other.
    A sample of which nothing is kept gets tokens that nobody may look at. Source: HPT, section 3.1.
    """

    def __init__(
        self, input_dim: int, *, hidden: int, embed_dim: int, tokens: int, heads: int, head_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, tokens, embed_dim) * 0.02)
        last = nn.Linear(hidden, embed_dim)
        with torch.no_grad():
            last.weight.mul_(CONTEXT_GAIN)
        self.net = nn.Sequential(nn.Linear(input_dim, hidden), nn.SiLU(), last)
        self.cross_attention = CrossAttention(embed_dim, heads, head_dim, dropout)

    def forward(self, features: Features) -> Tokens:
        values, keep = features
        flat = values.flatten(1, -2)
        attend = self._folded if flat.shape[0] * flat.shape[1] >= FOLD_FROM else self._plain
        if keep is None:
            return Tokens(attend(flat, None))
        axes = keep.view(*keep.shape, *[1] * (values.ndim - 1 - keep.ndim))
        seen = axes.expand(values.shape[:-1]).flatten(1)
        any_seen = seen.any(dim=1, keepdim=True)
        tokens = attend(flat, seen | ~any_seen)
        return Tokens(tokens, any_seen.expand(tokens.shape[:2]))

    def fold(self, dtype: torch.dtype) -> Folded:
        """The stem as three matrices, computed in `dtype`.

        Scores are q W_k W_2 h for hidden layer h, query and head; the bias of W_2 adds the same to all scores of a
        query, which softmax ignores. The output is W_o W_v (W_2 h' + b_2 s) for the attended h' and the sum s of its weights.
        """
        attention, last = self.cross_attention, self.net[2]
        heads, width = attention.heads, self.tokens.shape[-1]
        w2, b2 = (cast(Tensor, t).to(dtype) for t in (last.weight, last.bias))
        query = (self.tokens[0].to(dtype) @ attention.to_q.weight.to(dtype).T).view(len(self.tokens[0]), heads, -1)
        key, value = attention.to_kv.weight.to(dtype).view(2, heads, -1, width)
        score = torch.einsum("qhd,hde->hqe", query, key).flatten(0, 1) @ w2 / query.shape[-1] ** 0.5
        through = torch.einsum("ohd,hde->ohe", attention.to_out.weight.to(dtype).view(width, heads, -1), value)
        return Folded(score, (through @ w2).flatten(1), (through @ b2).T)

    def _plain(self, flat: Tensor, keep: Tensor | None) -> Tensor:
        tokens: Tensor = self.cross_attention(self.tokens, self.net(add_positions(flat)), keep)
        return tokens

    def _folded(self, flat: Tensor, keep: Tensor | None) -> Tensor:
        """The same from a fraction of the multiplications: no keys and values of each part of the context."""
        first, attention = self.net[0], self.cross_attention
        folded = self.fold(torch.float32)
        positions = first(add_positions(torch.zeros_like(flat[:1])))
        hidden = F.silu(F.linear(flat, first.weight) + positions)  # type: ignore[arg-type]
        scores = folded.score @ hidden.transpose(1, 2)
        if keep is not None:
            scores = scores.masked_fill(~keep[:, None], -torch.inf)
        weights = F.dropout(scores.softmax(dim=-1), attention.dropout, self.training)
        by_head = (len(flat), attention.heads, -1)
        attended = (weights @ hidden).view(*by_head, hidden.shape[-1]).transpose(1, 2).flatten(2)
        sums = weights.sum(dim=-1).view(by_head).transpose(1, 2)
        return F.linear(attended, folded.mix, attention.to_out.bias) + sums @ folded.bias
