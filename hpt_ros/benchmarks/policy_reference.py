"""The same network in the straightforward published order: what `bench policy` compares with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpt_ros.model import HPTPolicy
from hpt_ros.model.batch import Features, Tokens
from hpt_ros.model.encoders.images import to_network
from hpt_ros.model.lora import blocks
from hpt_ros.model.pooling import pool
from hpt_ros.model.positions import add_positions
from hpt_ros.model.trunk import Block


class PublishedOrder(nn.Module):
    """A policy with ResNet-18 as HPT's published code runs it, with the policy's own tensors.

    At every step each view and each frame of the history goes through the image network by itself, with batch norm and
    in torch's default memory layout; the trunk is nn.MultiheadAttention with `add_bias_kv`. Stems and head are the policy's.
    Poolings without action tokens.
    """

    def __init__(self, policy: HPTPolicy) -> None:
        super().__init__()
        self.stems, self.head, self.scaling = policy.stems, policy.head, policy.scaling
        encoder: Any = policy.encoder("image")
        self.image: nn.Module = encoder.net
        self.mean, self.std = encoder.mean, encoder.std
        self.cameras: tuple[str, ...] = encoder.cameras
        self.trunk = nn.Sequential(*map(PublishedBlock, blocks(policy.trunk)))
        self.domain, self.rows, self.pooling = policy.domain, policy.rows, policy.config.pooling
        self.eval()

    @torch.no_grad()
    def act(self, state: NDArray[np.float32], images: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Chunk (rows, A) in physical units, of state (T, S) and images (T, H, W, 3) by camera."""
        views = torch.stack([self._frames(images[name]) for name in self.cameras], dim=1)[None]
        normalized = self.scaling.state.normalize(torch.from_numpy(state)[None])
        tokens = [
            self.stems[f"{self.domain}_image"](Features(views)).values,
            self.stems[f"{self.domain}_state"](Features(normalized.unsqueeze(2))).values,
        ]
        out = self.trunk(add_positions(torch.cat(tokens, dim=1)).transpose(0, 1)).transpose(0, 1)
        chunk = self.scaling.action.unnormalize(self.head.sample(pool(Tokens(out), self.pooling, self.rows)))[0]
        seen = self.scaling.action.input_stats
        rows: NDArray[np.float32] = chunk.clamp(seen.min, seen.max).numpy()
        return rows

    def _frames(self, frames: NDArray[np.uint8]) -> Tensor:
        """Tokens (T, 49, 512) of one camera, one frame after another."""
        networks_input = (to_network(torch.from_numpy(frame)[None], self.mean, self.std) for frame in frames)
        maps = [self.image(pixels.contiguous()) for pixels in networks_input]
        return torch.cat(maps).flatten(2).transpose(1, 2)


class PublishedBlock(nn.Module):
    """A block of the trunk over tokens (L, N, D), with the block's own tensors."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        width, ours = block.attn.in_proj_weight.shape[1], block.attn
        self.norm_1, self.norm_2, self.mlp = block.norm_1, block.norm_2, block.mlp
        self.attn = nn.MultiheadAttention(width, ours.heads, add_bias_kv=True)
        for name in ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj"):
            setattr(self.attn, name, getattr(ours, name))  # shared: trained or frozen as the policy's

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm_1(tokens)
        tokens = tokens + self.attn(x, x, x, need_weights=False)[0]
        out: Tensor = tokens + self.mlp(self.norm_2(tokens))
        return out
