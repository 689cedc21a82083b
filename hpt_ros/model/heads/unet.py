"""Conditional 1-D U-Net over the rows of a chunk (Diffusion Policy, arXiv 2303.04137, section 4). Published names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEP_WIDTH, KERNEL, GROUPS = 32, 3, 8  # as published


class StepEmbedding(nn.Module):
    """Denoising step (N,) -> sines, then cosines (N, width) of frequencies from 1 down to 1e-4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frequencies = width // 2

    def forward(self, step: Tensor) -> Tensor:
        exponents = torch.arange(self.frequencies, device=step.device) * (-math.log(10000) / (self.frequencies - 1))
        angles = step[:, None] * exponents.exp()
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class ConvBlock(nn.Module):
    """(N, C, rows) -> (N, outputs, rows)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(inputs, outputs, KERNEL, padding=KERNEL // 2)
        self.block = nn.Sequential(convolution, nn.GroupNorm(GROUPS, outputs), nn.Mish())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return out


class ResidualBlock(nn.Module):
    """Two convolutions; the condition (N, C) scales and shifts each channel between them (FiLM, arXiv 1709.07871)."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([ConvBlock(inputs, outputs), ConvBlock(outputs, outputs)])
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * outputs))
        self.residual_conv = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.cond_encoder(condition).unsqueeze(-1).chunk(2, dim=1)
        out: Tensor = self.blocks[1](scale * self.blocks[0](x) + shift) + self.residual_conv(x)
        return out


class Resample(nn.Module):
    """Halves or doubles the rows; `conv` carries the published name."""

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels, channels, 4, 2, 1) if up else nn.Conv1d(channels, channels, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class ConditionalUnet(nn.Module):
    """Noisy chunk (N, rows, A), step (N,) and context (N, D) -> an estimate for each value (N, rows, A).

    Each of `down_dims` but the last halves the rows. Rows that do not divide are filled with copies of the last one,
    which are cut off again.
    """

    def __init__(self, action_dim: int, context_dim: int, down_dims: Sequence[int]) -> None:
        super().__init__()
        condition = STEP_WIDTH + context_dim
        ends = list(pairwise([action_dim, *down_dims]))
        self.multiple = 2 ** (len(ends) - 1)
        self.diffusion_step_encoder = nn.Sequential(
            StepEmbedding(STEP_WIDTH),
            nn.Linear(STEP_WIDTH, 4 * STEP_WIDTH),
            nn.Mish(),
            nn.Linear(4 * STEP_WIDTH, STEP_WIDTH),
        )
        self.mid_modules = nn.ModuleList(ResidualBlock(down_dims[-1], down_dims[-1], condition) for _ in range(2))
        self.down_modules = nn.ModuleList(
            _level(before, after, condition, nn.Identity() if coarsest else Resample(after, up=False))
            for (before, after), coarsest in zip(ends, [False] * (len(ends) - 1) + [True], strict=True)
        )
        self.up_modules = nn.ModuleList(
            _level(2 * after, before, condition, Resample(before, up=True)) for before, after in reversed(ends[1:])
        )
        self.final_conv = nn.Sequential(ConvBlock(down_dims[0], down_dims[0]), nn.Conv1d(down_dims[0], action_dim, 1))

    def forward(self, noisy: Tensor, step: Tensor, context: Tensor) -> Tensor:
        rows = noisy.shape[1]
        condition = torch.cat([self.diffusion_step_encoder(step), context], dim=-1)
        x, skipped = F.pad(noisy.transpose(1, 2), (0, -rows % self.multiple), mode="replicate"), []
        for first, second, down in _parts(self.down_modules):
            x = second(first(x, condition), condition)
            skipped.append(x)
            x = down(x)
        for block in self.mid_modules:
            x = block(x, condition)
        for first, second, up in _parts(self.up_modules):
            x = torch.cat([x, skipped.pop()], dim=1)
            x = up(second(first(x, condition), condition))
        out: Tensor = self.final_conv(x)[..., :rows].transpose(1, 2)
        return out


def _level(inputs: int, outputs: int, condition: int, resample: nn.Module) -> nn.ModuleList:
    first, second = ResidualBlock(inputs, outputs, condition), ResidualBlock(outputs, outputs, condition)
    return nn.ModuleList([first, second, resample])


def _parts(levels: nn.ModuleList) -> Iterator[tuple[nn.Module, nn.Module, nn.Module]]:
    for level in levels:
        first, second, resample = level.children()
        yield first, second, resample
