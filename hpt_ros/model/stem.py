"""Stem: the features of one modality of one embodiment -> a fixed number of tokens that any trunk can read."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


CONTEXT_GAIN = 4.0  # torch's default starts the context so small that attention hardly tells its tokens apart


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
        context = self.net(add_positions(values.flatten(1, -2)))
        if keep is None:
            return Tokens(self.cross_attention(self.tokens, context))
        axes = keep.view(*keep.shape, *[1] * (values.ndim - 1 - keep.ndim))
        seen = axes.expand(values.shape[:-1]).flatten(1)
        any_seen = seen.any(dim=1, keepdim=True)
        tokens = self.cross_attention(self.tokens, context, seen | ~any_seen)
        return Tokens(tokens, any_seen.expand(tokens.shape[:2]))
