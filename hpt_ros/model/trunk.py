"""Trunk: the transformer that all embodiments share. Parameter names are those of the published `trunk.pth`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hpt_ros.model.attention import attend
from hpt_ros.model.batch import Tokens


class Attention(nn.Module):
    """Self-attention in which every token can also attend to one learnt key and value (`bias_k`, `bias_v`).

    `keep`, bool (N, 1, 1, L + 1), hides tokens; its last column is the learnt one.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.bias_k = nn.Parameter(torch.empty(1, 1, width))
        self.bias_v = nn.Parameter(torch.empty(1, 1, width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_normal_(self.bias_k)
        nn.init.xavier_normal_(self.bias_v)

    def forward(self, tokens: Tensor, keep: Tensor | None = None) -> Tensor:
        n, length, _ = tokens.shape
        qkv = self.project(tokens).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        learnt = torch.stack([self.bias_k, self.bias_v]).to(qkv.dtype).view(2, 1, self.heads, 1, -1)
        k, v = torch.cat([qkv[1:], learnt.expand(-1, n, -1, -1, -1)], dim=3)  # also lays them out head by head
        attended = attend(qkv[0], k, v, keep)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out

    def project(self, tokens: Tensor) -> Tensor:
        """Queries, keys and values (N, L, 3 width)."""
        return F.linear(tokens, self.in_proj_weight, self.in_proj_bias)


class MLP(nn.Module):
    """Two layers, four times as wide in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out


class Block(nn.Module):
    """Pre-norm attention and MLP, each with a residual that a sample skips with probability `drop_path` in training."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width)

    def forward(self, tokens: Tensor, keep: Tensor | None = None) -> Tensor:
        tokens = tokens + self._drop(self.attn(self.norm_1(tokens), keep))
        return tokens + self._drop(self.mlp(self.norm_2(tokens)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        return branch * branch.new_empty(len(branch), 1, 1).bernoulli_(keep) / keep


class Trunk(nn.Module):
    """Tokens (N, L, width) -> tokens (N, L, width); no norm after the last block.

    With `recompute` the backward pass computes the activations of each block again instead of keeping them.
    """

    def __init__(
        self, width: int, num_blocks: int, num_heads: int, drop_path: float, *, recompute: bool = False
    ) -> None:
        super().__init__()
        self.recompute = recompute
        rates = [drop_path * i / max(num_blocks - 1, 1) for i in range(num_blocks)]
        blocks = nn.Sequential(*(Block(width, num_heads, rate) for rate in rates))
        self.trunk = nn.ModuleDict({"blocks": blocks})

    def forward(self, tokens: Tokens) -> Tokens:
        values, keep = tokens
        mask = None if keep is None else F.pad(keep, (0, 1), value=True)[:, None, None]
        for block in self.trunk["blocks"]:  # type: ignore[attr-defined]
            if self.recompute and self.training:
                values = checkpoint(block, values, mask, use_reentrant=False)
            else:
                values = block(values, mask)
        return Tokens(values, keep)
