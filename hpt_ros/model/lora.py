"""Low-rank adaptation of the trunk (LoRA, arXiv 2106.09685): the base stays frozen under its published names."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpt_ros.model.config import LoraConfig
from hpt_ros.model.trunk import Attention, Block, Trunk

if TYPE_CHECKING:
    from hpt_ros.model.policy import HPTPolicy

FACTORS = ("*lora_a", "*lora_b")
"""Globs of the names of the factors."""


class LoraLinear(nn.Linear):
    """`y = W x + b + (alpha / rank) B A x`, with A `lora_a` (rank, in) and B `lora_b` (out, rank), which starts at zero."""

    def __init__(self, base: nn.Linear, config: LoraConfig) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None)
        self.weight, self.bias = base.weight, base.bias
        self.lora_a, self.lora_b = _factors(self.out_features, self.in_features, config)
        self.lora_scale = config.scale

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + _update(x, self.lora_a, self.lora_b, self.lora_scale)

    def merged(self) -> nn.Linear:
        """One layer with the same function."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
        layer.weight = _merge(self.weight, self.lora_a, self.lora_b, self.lora_scale)
        layer.bias = self.bias
        return layer


class LoraAttention(Attention):
    """Attention whose projection to queries, keys and values is adapted; factors `in_proj_lora_a`, `in_proj_lora_b`."""

    def __init__(self, base: Attention, config: LoraConfig) -> None:
        width = base.out_proj.in_features
        super().__init__(width, base.heads)
        _share(base, self)
        self.in_proj_lora_a, self.in_proj_lora_b = _factors(3 * width, width, config)
        self.lora_scale = config.scale

    def project(self, tokens: Tensor) -> Tensor:
        update = _update(tokens, self.in_proj_lora_a, self.in_proj_lora_b, self.lora_scale)
        return super().project(tokens) + update

    def merged(self) -> Attention:
        """Attention with the same function and plain weights."""
        plain = Attention(self.out_proj.in_features, self.heads)
        _share(self, plain)
        plain.in_proj_weight = _merge(self.in_proj_weight, self.in_proj_lora_a, self.in_proj_lora_b, self.lora_scale)
        return plain


def add_lora(trunk: Trunk, config: LoraConfig) -> None:
    """Freeze the trunk and put trained factors beside the target layers of every block; its function stays the same."""
    trunk.requires_grad_(False)
    for block in blocks(trunk):
        if "in_proj" in config.targets:
            block.attn = LoraAttention(block.attn, config)
        if "out_proj" in config.targets:
            block.attn.out_proj = LoraLinear(block.attn.out_proj, config)
        if "fc1" in config.targets:
            block.mlp.fc1 = LoraLinear(block.mlp.fc1, config)
        if "fc2" in config.targets:
            block.mlp.fc2 = LoraLinear(block.mlp.fc2, config)


def merged(policy: HPTPolicy) -> HPTPolicy:
    """For serving: a policy with plain weights and, up to rounding, the same function; itself when it has no factors."""
    if policy.config.lora is None:
        return policy
    plain = copy.deepcopy(policy)
    for block in blocks(plain.trunk):
        if isinstance(block.attn.out_proj, LoraLinear):
            block.attn.out_proj = block.attn.out_proj.merged()
        if isinstance(block.attn, LoraAttention):
            block.attn = block.attn.merged()
        if isinstance(block.mlp.fc1, LoraLinear):
            block.mlp.fc1 = block.mlp.fc1.merged()
        if isinstance(block.mlp.fc2, LoraLinear):
            block.mlp.fc2 = block.mlp.fc2.merged()
    plain.config = replace(policy.config, lora=None)
    return plain.train(policy.training)


def blocks(trunk: Trunk) -> list[Block]:
    """The blocks of a trunk, first to last."""
    found: list[Block] = list(trunk.trunk["blocks"].children())  # type: ignore[arg-type]
    return found


def _factors(outputs: int, inputs: int, config: LoraConfig) -> tuple[nn.Parameter, nn.Parameter]:
    first = nn.Parameter(torch.empty(config.rank, inputs))
    nn.init.kaiming_uniform_(first, a=math.sqrt(5))  # as the authors' code
    return first, nn.Parameter(torch.zeros(outputs, config.rank))


def _update(x: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return F.linear(F.linear(x, a), b) * scale


def _merge(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> nn.Parameter:
    return nn.Parameter((weight + (b @ a) * scale).detach(), requires_grad=False)


def _share(source: Attention, target: Attention) -> None:
    for name in ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj"):
        setattr(target, name, getattr(source, name))
