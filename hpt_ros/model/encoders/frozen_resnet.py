"""The paper's image encoder: ResNet-18 with ImageNet weights that training never changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hpt_ros.configuration import check
from hpt_ros.embodiment import Camera
from hpt_ros.errors import DataError
from hpt_ros.model.encoders.base import ImageEncoder
from hpt_ros.model.encoders.images import to_network
from hpt_ros.model.encoders.resnet18 import FEATURE_DIM, ResNet18
from hpt_ros.model.weights import load_exactly, read_tensors

URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FrozenResNet18(ImageEncoder):
    """49 tokens of width 512 a view for 224 x 224 pixels.

    All views go through the network in one batch. Batch-norm statistics stay those of the weights, in training too.
    """

    feature_dim = FEATURE_DIM
    mean: Tensor
    std: Tensor

    def __init__(self, cameras: tuple[Camera, ...]) -> None:
        super().__init__(cameras)
        sizes = {camera.name: camera.size_px for camera in cameras}
        check(
            len(set(sizes.values())) == 1,
            "cameras",
            sizes,
            "one size_px for all cameras with encoder resnet18",
            "give the cameras of the embodiment the same size_px, or train encoder spatial_softmax",
        )
        self.net = ResNet18().requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD), persistent=False)

    def load(self, path: Path) -> None:
        """Fill the network from torchvision's file (.pth or .safetensors).

        Raises:
            DataError: no such file, damaged, or not exactly the tensors of ResNet-18.
        """
        if not path.is_file():
            raise DataError(
                f"the weights of the image encoder are missing: {path}",
                f"mkdir -p {path.parent} && curl -L -o {path} {URL}   (or set encoder.weights: random)",
            )
        _check_published_hash(path)
        load_exactly(self.net, read_tensors(path), path)

    def train(self, mode: bool = True) -> FrozenResNet18:
        super().train(mode)
        self.net.eval()
        return self

    @torch.no_grad()
    def frames(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        pixels = to_network(torch.cat(list(images.values())), self.mean, self.std)
        maps = self.net(pixels.contiguous(memory_format=torch.channels_last))
        tokens = maps.flatten(2).transpose(1, 2).split([len(frames) for frames in images.values()])
        return dict(zip(images, tokens, strict=True))


def _check_published_hash(path: Path) -> None:
    """Files of download.pytorch.org carry the start of their SHA-256 in their name."""
    expected = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if expected and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(expected[1]):
        raise DataError(f"{path}: the content does not have the hash {expected[1]} of its name", "download it again")
