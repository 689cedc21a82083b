"""Head that reads tokens: one learnt query per row of the chunk."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from hpt_ros.model.heads.base import Head, HeadFacts
from hpt_ros.model.heads.mlp import huber
from hpt_ros.model.stem import CrossAttention

ATTENTION_HEADS, HEAD_DIM = 8, 64  # as published


class TransformerDecoderHead(Head):
    """Tokens (N, L, D) -> chunk, as the decoders of ACT and DETR do. A token that is all zeros is hidden, see `pool`.

    Each query attends to the tokens, then a perceptron turns what it found into a row. With `layers` above 1 the
    queries first pass `layers - 1` decoder layers, in which the rows also see each other.

    The tensors have the published names. The published order, perceptron and then attention, has its attention's width
    equal the tokens' at the input and the action's at the output, so it runs only where both are the same.
    Here attention works in the tokens' width and the perceptron comes last.
    """

    def __init__(self, input_dim: int, action_dim: int, rows: int, dropout: float, layers: int = 1) -> None:
        super().__init__()
        hidden = ATTENTION_HEADS * HEAD_DIM
        self.tokens = nn.Parameter(torch.randn(1, rows, input_dim) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                input_dim, _divisor(input_dim), 4 * input_dim, dropout, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers - 1)
        )
        self.cross_attention = CrossAttention(input_dim, ATTENTION_HEADS, HEAD_DIM, dropout)
        self.mlp = nn.Sequential(nn.Linear(input_dim, hidden), nn.SiLU(), nn.Linear(hidden, action_dim), nn.Tanh())

    @property
    def facts(self) -> HeadFacts:
        return HeadFacts(
            "smooth L1 (beta 0.05)",
            1,
            False,
            "deterministic; averages over modes; each row looks at the tokens by itself",
            "long chunks, or details that the mean over tokens washes out",
        )

    def loss(self, context: Tensor, action: Tensor, valid: Tensor) -> Tensor:
        return huber(self.sample(context), action, valid)

    def sample(self, context: Tensor, generator: Generator | None = None) -> Tensor:
        seen = (context != 0).any(dim=-1)
        seen = seen | ~seen.any(dim=1, keepdim=True)
        queries = self.tokens.expand(len(context), -1, -1)
        for layer in self.layers:
            queries = layer(queries, context, memory_key_padding_mask=~seen)
        chunk: Tensor = self.mlp(self.cross_attention(queries, context, seen))
        return chunk


def _divisor(width: int) -> int:
    return max(heads for heads in range(1, ATTENTION_HEADS + 1) if width % heads == 0)
