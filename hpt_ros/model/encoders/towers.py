"""Vision transformers of the transformers library as image encoders: DINOv2 and SigLIP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from hpt_ros.configuration import check
from hpt_ros.embodiment import Camera
from hpt_ros.errors import ConfigError
from hpt_ros.model.config import EncoderConfig
from hpt_ros.model.encoders.images import IMAGENET_MEAN, IMAGENET_STD
from hpt_ros.model.encoders.shared import SharedEncoder
from hpt_ros.model.pretrained import (
    WeightSource,
    download_command,
    find_weights,
    load_transformers,
    transformers_library,
)

_UNTOLD = ("id2label", "label2id", "architectures", "dtype", "problem_type")


class _Tower(NamedTuple):
    """Class names in transformers, what its forward needs, names in published files that it leaves out, and pixels."""

    config: str
    model: str
    options: dict[str, Any]
    unused: tuple[str, ...]
    mean: list[float]
    std: list[float]


_DINOV2 = _Tower("Dinov2Config", "Dinov2Model", {}, (), IMAGENET_MEAN, IMAGENET_STD)
_REGISTERS = _DINOV2._replace(config="Dinov2WithRegistersConfig", model="Dinov2WithRegistersModel")
_SIGLIP = _Tower(
    "SiglipVisionConfig",
    "SiglipVisionModel",
    {"interpolate_pos_encoding": True},
    ("text_model.", "logit_", "head.", "vision_model.head."),
    [0.5] * 3,
    [0.5] * 3,
)
TOWERS = {
    "dinov2": {"dinov2": _DINOV2, "dinov2_with_registers": _REGISTERS},
    "siglip": {"siglip_vision_model": _SIGLIP},
}
"""By kind of encoder, then by `model_type` of the network."""
USUAL = {"dinov2": "facebook/dinov2-base", "siglip": "google/siglip-base-patch16-224"}


class PatchTokens(nn.Module):
    """Normalised images (B, 3, H, W) -> the last layer's normalised tokens of the patches (B, P, D), row by row.

    Class and register tokens are left out. Position embeddings are interpolated to the size of the image.
    """

    def __init__(self, model: nn.Module, skip: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.model, self._skip, self._options = model, skip, options

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.model(pixel_values=images, **self._options).last_hidden_state
        return tokens[:, self._skip :]


class TowerEncoder(SharedEncoder):
    """One token for each patch; sides of the images must be multiples of the patch.

    Args:
        config: with `tower` filled in, see `described`.
        model: the loaded network; None builds one with random values.

    Raises:
        ConfigError: a camera whose size is no multiple of the patch, or sizes that the library does not take.
        MissingDependencyError: transformers is not installed.
    """

    def __init__(self, config: EncoderConfig, cameras: tuple[Camera, ...], model: nn.Module | None = None) -> None:
        tower, sizes = _network(config)
        _require_patches(cameras, sizes.patch_size, config.kind)
        built = model or getattr(transformers_library(config.kind), tower.model)(sizes)
        skip = 0 if tower is _SIGLIP else 1 + getattr(sizes, "num_register_tokens", 0)
        net = PatchTokens(built, skip, tower.options)
        super().__init__(config, cameras, net, sizes.hidden_size, tower.mean, tower.std)


def load_tower(config: EncoderConfig, cameras: tuple[Camera, ...], source: WeightSource) -> TowerEncoder:
    """The encoder with the weights of a folder.

    Raises:
        ConfigError: as `TowerEncoder`.
        DataError: not the tensors of the network, or a damaged file.
    """
    tower, sizes = _network(config)
    _require_patches(cameras, sizes.patch_size, config.kind)
    model_class = getattr(transformers_library(config.kind), tower.model)
    encoder = TowerEncoder(config, cameras, load_transformers(model_class, source, tower.unused, config=sizes))
    encoder.source = source
    return encoder


def find_tower(config: EncoderConfig) -> WeightSource:
    """The weight files that the configuration means.

    Raises:
        DataError: they are missing, or have another hash.
    """
    return find_weights(config.weights, config.sha256, remedy=download_command(config.weights, USUAL[config.kind]))


def described(config: EncoderConfig, source: WeightSource) -> EncoderConfig:
    """The configuration with the sizes that lie beside the weights in config.json.

    Raises:
        ConfigError: the folder holds a network of another kind, or none that is described.
        MissingDependencyError: transformers is not installed.
    """
    library = transformers_library(config.kind)
    own = TOWERS[config.kind]
    try:
        sizes = library.AutoConfig.from_pretrained(str(source.folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError("weights", config.weights, f"a folder with a config.json ({reason})") from error
    vision = getattr(sizes, "vision_config", sizes)
    check(vision.model_type in own, "weights", f"{config.weights}: {vision.model_type}", f"one of {', '.join(own)}")
    told = {k: v for k, v in vision.to_dict().items() if k not in _UNTOLD and not k.startswith("_")}
    if config.kind == "siglip":
        told["vision_use_head"] = False  # pools the tokens; only they are read
    return replace(config, tower=told)


def _network(config: EncoderConfig) -> tuple[_Tower, Any]:
    own = TOWERS[config.kind]
    kind = config.tower.get("model_type", next(iter(own)))
    check(kind in own, "tower.model_type", kind, f"one of {', '.join(own)}")
    config_class = getattr(transformers_library(config.kind), own[kind].config)
    try:
        return own[kind], config_class.from_dict(dict(config.tower))
    except Exception as error:  # the library's strict dataclasses have their own types
        raise ConfigError("tower", config.tower, f"sizes that transformers takes ({error})") from error


def _require_patches(cameras: tuple[Camera, ...], patch: int, kind: str) -> None:
    for camera in cameras:
        check(
            all(side % patch == 0 for side in camera.size_px),
            f"cameras.{camera.name}.size_px",
            list(camera.size_px),
            f"multiples of the patch of {kind}: {patch}",
            f"set size_px to {[max(1, round(side / patch)) * patch for side in camera.size_px]} and convert again",
        )
