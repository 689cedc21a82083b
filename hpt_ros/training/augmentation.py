"""Random changes of training images: a shift, brightness, contrast and saturation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.training.config import AugmentationConfig

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Changes:
    """One row a frame: shift (N, 2) in fractions of height and width, factors (N, 3) of brightness, contrast, saturation."""

    shift: NDArray[np.float64]
    factors: NDArray[np.float64]

    def __getitem__(self, rows: NDArray[np.int64]) -> Changes:
        return Changes(self.shift[rows], self.factors[rows])


def draw(config: AugmentationConfig, seed: Sequence[int], count: int) -> Changes:
    """Changes for `count` frames or windows, a function of the seed alone."""
    rng = np.random.default_rng(seed)
    shift = rng.uniform(-config.shift, config.shift, (count, 2))
    most = np.array([config.brightness, config.contrast, config.saturation])
    return Changes(shift, 1 + rng.uniform(-most, most, (count, 3)))


def changed(frames: Tensor, changes: Changes) -> Tensor:
    """RGB uint8 (N, ..., H, W, 3) with row n of the changes applied to all frames of n; what moves in repeats the edge."""
    moved = _shifted(frames, changes.shift)
    if (changes.factors == 1).all():
        return moved
    wide = [-1] + [1] * (frames.ndim - 1)
    brightness, contrast, saturation = torch.from_numpy(changes.factors).to(frames.device).float().T
    pixels = moved.float() * brightness.view(wide)
    grey = (pixels * torch.tensor(_GREY, device=frames.device)).sum(dim=-1, keepdim=True)
    pixels = grey + (pixels - grey) * saturation.view(wide)
    mean = grey.flatten(1).mean(dim=1).view(wide)
    out: Tensor = (mean + (pixels - mean) * contrast.view(wide)).clamp(0, 255).round().to(torch.uint8)
    return out


def _shifted(frames: Tensor, shift: NDArray[np.float64]) -> Tensor:
    height, width = frames.shape[-3:-1]
    pixels = np.rint(shift * [height, width]).astype(np.int64)
    if not pixels.any():
        return frames
    out = torch.empty_like(frames)
    for i, (down, right) in enumerate(pixels):
        rows = torch.arange(height, device=frames.device).sub(int(down)).clamp(0, height - 1)
        columns = torch.arange(width, device=frames.device).sub(int(right)).clamp(0, width - 1)
        out[i] = frames[i].index_select(-3, rows).index_select(-2, columns)
    return out
