"""The paper's image encoder: a ResNet with ImageNet weights."""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import Tensor

from hpt_ros.embodiment import Camera
from hpt_ros.errors import DataError
from hpt_ros.model.config import EncoderConfig
from hpt_ros.model.encoders.images import IMAGENET_MEAN, IMAGENET_STD
from hpt_ros.model.encoders.resnet import FEATURE_DIM, ResNet
from hpt_ros.model.encoders.shared import SharedEncoder
from hpt_ros.model.pretrained import WeightSource, find_weights
from hpt_ros.model.weights import load_exactly, read_tensors

_COUNTERS = "num_batches_tracked"


class _Published(NamedTuple):
    blocks: tuple[int, int, int, int]
    url: str


RESNETS = {
    "resnet18": _Published((2, 2, 2, 2), "https://download.pytorch.org/models/resnet18-f37072fd.pth"),
    "resnet34": _Published((3, 4, 6, 3), "https://download.pytorch.org/models/resnet34-b627a593.pth"),
}
"""He et al., "Deep residual learning", table 1; torchvision's IMAGENET1K_V1 weights."""


class ResNetEncoder(SharedEncoder):
    """49 tokens of width 512 a view for 224 x 224 pixels; other sizes give one for every 32 x 32 pixels begun."""

    def __init__(self, config: EncoderConfig, cameras: tuple[Camera, ...]) -> None:
        net = ResNet(RESNETS[config.kind].blocks)
        super().__init__(config, cameras, net, FEATURE_DIM, IMAGENET_MEAN, IMAGENET_STD)

    def load(self, source: WeightSource) -> None:
        """Fill the network from torchvision's file (.pth or .safetensors).

        Raises:
            DataError: damaged, or not exactly the tensors of this ResNet.
        """
        path = source.files[0]
        _check_published_hash(source)
        tensors = read_tensors(path)
        # counters of training batches: nothing reads them, and files older than them are still published
        counters: dict[str, Tensor] = {n: torch.tensor(0) for n in self.net.state_dict() if n.endswith(_COUNTERS)}
        load_exactly(self.net, counters | tensors, path)
        self.source = source


def find_resnet(config: EncoderConfig) -> WeightSource:
    """The file of weights that the configuration means.

    Raises:
        DataError: it is missing, or has another hash.
    """
    url = RESNETS[config.kind].url
    name = url.rpartition("/")[2]
    source = find_weights(
        config.weights,
        config.sha256,
        remedy=f"mkdir -p {{folder}} && curl -L -o {{path}} {url}   (or set encoder.weights: random)",
        suffixes=(".pth", ".safetensors"),
    )
    if len(source.files) > 1:
        found = ", ".join(file.name for file in source.files)
        raise DataError(f"{config.weights}: several weight files: {found}", f"name one of them, such as {name}")
    return source


def _check_published_hash(source: WeightSource) -> None:
    """Files of download.pytorch.org carry the start of their SHA-256 in their name."""
    path = source.files[0]
    expected = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if expected and not source.sha256.startswith(expected[1]):
        raise DataError(f"{path}: the content does not have the hash {expected[1]} of its name", "download it again")
