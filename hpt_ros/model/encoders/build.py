"""Which encoder a configuration means."""

from __future__ import annotations

from pathlib import Path

from hpt_ros.embodiment import Camera
from hpt_ros.model.config import EncoderConfig
from hpt_ros.model.encoders.base import ImageEncoder
from hpt_ros.model.encoders.frozen_resnet import FrozenResNet18
from hpt_ros.model.encoders.spatial_softmax import SpatialSoftmaxEncoder


def build_encoder(config: EncoderConfig, cameras: tuple[Camera, ...], pretrained: bool) -> ImageEncoder:
    """The encoder for these cameras, in this order; `pretrained=False` leaves weight files unread.

    Raises:
        ConfigError: cameras that the encoder cannot take.
        DataError: weights that are missing or damaged.
    """
    if config.kind == "spatial_softmax":
        return SpatialSoftmaxEncoder(cameras)
    encoder = FrozenResNet18(cameras)
    if pretrained and config.weights != "random":
        encoder.load(Path(config.weights))
    return encoder
