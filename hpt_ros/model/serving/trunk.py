"""The trunk for serving: learnt key and value split into heads once, weights laid out for the kernels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpt_ros.model.batch import Tokens
from hpt_ros.model.lora import blocks
from hpt_ros.model.serving.linears import PackedLinear
from hpt_ros.model.trunk import Block, Trunk


class ServedBlock(nn.Module):
    """The same tokens as `Block` in evaluation mode; its four products are modules that can be replaced."""

    bias_k: Tensor
    bias_v: Tensor

    def __init__(self, block: Block) -> None:
        super().__init__()
        attention, mlp = block.attn, block.mlp
        self.heads = attention.heads
        self.norm_1, self.norm_2 = block.norm_1, block.norm_2
        width = attention.in_proj_weight.shape[1]
        self.qkv = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, width, 3 * width
        )
        self.qkv.weight, self.qkv.bias = attention.in_proj_weight, attention.in_proj_bias
        self.out: nn.Module = attention.out_proj
        self.up: nn.Module = nn.Sequential(mlp.fc1, nn.GELU())
        self.down: nn.Module = mlp.fc2
        for name in ("bias_k", "bias_v"):
            heads_first = getattr(attention, name).detach().view(1, 1, self.heads, -1).transpose(1, 2)
            self.register_buffer(name, heads_first.contiguous())

    def forward(self, tokens: Tensor, keep: Tensor | None) -> Tensor:
        n, length, _ = tokens.shape
        q, k, v = self.qkv(self.norm_1(tokens)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        k = torch.cat([k, self.bias_k.expand(n, -1, -1, -1)], dim=2)
        v = torch.cat([v, self.bias_v.expand(n, -1, -1, -1)], dim=2)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.down(self.up(self.norm_2(tokens)))
        return out

    def pack(self, rows: int) -> None:
        """Lay the weights out for products of `rows` rows."""
        up: Any = self.up
        for name in ("qkv", "out", "down"):
            setattr(self, name, PackedLinear(getattr(self, name), rows))
        self.up = PackedLinear(up[0], rows, gelu=True)


class Blocks(nn.Module):
    """One block after another."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(ServedBlock, blocks(trunk)))

    def forward(self, values: Tensor, keep: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            values = block(values, keep)
        return values

    def pack(self, rows: int) -> None:
        """Lay the weights out for products of `rows` rows."""
        for block in self.blocks:
            block.pack(rows)  # type: ignore[operator]


class ServedTrunk(nn.Module):
    """The same tokens as `Trunk` in evaluation mode, computed by `blocks` in `dtype`, given in float32."""

    def __init__(self, blocks: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.blocks, self.dtype = blocks.to(dtype), dtype

    def forward(self, tokens: Tokens) -> Tokens:
        values, keep = tokens
        mask = None if keep is None else F.pad(keep, (0, 1), value=True)[:, None, None]
        return Tokens(self.blocks(values.to(self.dtype), mask).float(), keep)
