"""Which encoder a configuration means."""

from __future__ import annotations

from dataclasses import replace

from hpt_ros.embodiment import Camera
from hpt_ros.model.config import TOWER_KINDS, EncoderConfig
from hpt_ros.model.encoders.base import ImageEncoder
from hpt_ros.model.encoders.resnet_encoder import ResNetEncoder, find_resnet
from hpt_ros.model.encoders.spatial_softmax import SpatialSoftmaxEncoder
from hpt_ros.model.encoders.towers import TowerEncoder, described, find_tower, load_tower


def build_encoder(config: EncoderConfig, cameras: tuple[Camera, ...], pretrained: bool) -> ImageEncoder:
    """The encoder for these cameras, in this order; its `config` is the given one with hash and sizes filled in.

    `pretrained=False` leaves weight files unread, as long as the configuration is complete.

    Raises:
        ConfigError: cameras that the encoder cannot take.
        DataError: weights that are missing, damaged or have another hash.
        MissingDependencyError: transformers is not installed and the encoder comes from it.
    """
    if config.kind == "spatial_softmax":
        return SpatialSoftmaxEncoder(config, cameras)
    read = pretrained and config.weights != "random"
    if config.kind in TOWER_KINDS:
        return _tower(config, cameras, read)
    if not read:
        return ResNetEncoder(config, cameras)
    source = find_resnet(config)
    encoder = ResNetEncoder(replace(config, sha256=source.sha256), cameras)
    encoder.load(source)
    return encoder


def _tower(config: EncoderConfig, cameras: tuple[Camera, ...], read: bool) -> ImageEncoder:
    if config.tower and not read:
        return TowerEncoder(config, cameras)
    source = find_tower(config)
    full = replace(described(config, source), sha256=source.sha256)
    return load_tower(full, cameras, source) if read else TowerEncoder(full, cameras)
