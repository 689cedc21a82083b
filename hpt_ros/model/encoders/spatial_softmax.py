"""A small CNN per camera, trained with the policy, that reports where it sees things."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hpt_ros.embodiment import Camera
from hpt_ros.model.config import EncoderConfig
from hpt_ros.model.encoders.base import ImageEncoder
from hpt_ros.model.encoders.images import to_network

CHANNELS = 64


class SpatialSoftmax(nn.Module):
    """Feature map (B, C, H, W) -> expected image coordinates (B, 2 C) in [-1, 1]: all x, then all y.

    Source: Levine et al., "End-to-end training of deep visuomotor policies", section 5.2.
    """

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        # in float32 whatever the convolutions' arithmetic: bfloat16 tells 1 / 128 of the picture apart
        weights = features.float().flatten(2).softmax(-1).view(features.shape)
        x = (weights.sum(2) * torch.linspace(-1, 1, width, device=features.device)).sum(-1)
        y = (weights.sum(3) * torch.linspace(-1, 1, height, device=features.device)).sum(-1)
        return torch.cat([x, y], dim=1)


class SpatialSoftmaxEncoder(ImageEncoder):
    """A small CNN for each camera, trained from scratch: one token of width 128 a view. Cameras may differ in size."""

    feature_dim = 2 * CHANNELS

    def __init__(self, config: EncoderConfig, cameras: tuple[Camera, ...]) -> None:
        super().__init__(config, cameras, mean=[0.5] * 3, std=[0.5] * 3)
        self.views = nn.ModuleDict({camera.name: _view() for camera in cameras})

    def encoded(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: self.views[name](to_network(pixels, self.mean, self.std)).unsqueeze(1)
            for name, pixels in images.items()
        }


def _view() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, CHANNELS, 3, padding=1),
        SpatialSoftmax(),
    )
