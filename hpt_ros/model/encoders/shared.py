"""An encoder with one pre-trained network for all views."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hpt_ros.embodiment import Camera
from hpt_ros.model.config import EncoderConfig
from hpt_ros.model.encoders.base import ImageEncoder
from hpt_ros.model.encoders.images import to_network


class SharedEncoder(ImageEncoder):
    """Views of one size go through the network in one batch; each further size is one more call.

    Frozen, the network has no gradient and is always in evaluation mode.

    Args:
        net: normalised images (B, 3, H, W) -> tokens (B, P, feature_dim), or a map (B, feature_dim, h, w) of them.
    """

    def __init__(
        self,
        config: EncoderConfig,
        cameras: tuple[Camera, ...],
        net: nn.Module,
        feature_dim: int,
        mean: list[float],
        std: list[float],
    ) -> None:
        super().__init__(config, cameras, mean, std)
        self.feature_dim = feature_dim
        self.net = net
        if not config.trained:
            net.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> SharedEncoder:
        super().train(mode)
        if not self.config.trained:
            self.net.eval()
        return self

    def encoded(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        features: dict[str, Tensor] = {}
        for size in dict.fromkeys(pixels.shape[1:] for pixels in images.values()):
            group = {name: pixels for name, pixels in images.items() if pixels.shape[1:] == size}
            tokens = self._tokens(torch.cat(list(group.values())))
            features |= zip(group, torch.split(tokens, [len(pixels) for pixels in group.values()]), strict=True)
        return features

    def _tokens(self, frames: Tensor) -> Tensor:
        pixels = to_network(frames, self.mean, self.std)
        with torch.set_grad_enabled(self.config.trained and torch.is_grad_enabled()):
            out: Tensor = self.net(pixels.contiguous(memory_format=torch.channels_last))
        return out.flatten(2).transpose(1, 2) if out.ndim == 4 else out
