"""ResNet-18 and -34 with the names and shapes of torchvision's, so that the published weights load strictly."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

FEATURE_DIM = 512


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual (He et al., "Deep residual learning", section 4.1)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
            if stride != 1 or channels_in != channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNet(nn.Module):
    """Normalised images (B, 3, H, W) -> feature map (B, 512, H / 32, W / 32); always in evaluation mode.

    `blocks` are those of the four stages. `fc` is there for its name; nothing calls it or trains it.
    """

    def __init__(self, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(blocks[0], 64, 64, stride=1)
        self.layer2 = _stage(blocks[1], 64, 128, stride=2)
        self.layer3 = _stage(blocks[2], 128, 256, stride=2)
        self.layer4 = _stage(blocks[3], 256, FEATURE_DIM, stride=2)
        self.fc = nn.Linear(FEATURE_DIM, 1000).requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def train(self, mode: bool = True) -> ResNet:
        """Training changes weights, never the statistics of batch norm: small batches would spoil them."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, stride=2, padding=1)
        out: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return out


def _stage(count: int, channels_in: int, channels: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(count - 1)))
