"""Sizes and regularisation of a policy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from hpt_ros.configuration import check

Pooling = Literal["mean", "max", "last", "action_token", "none"]
HeadKind = Literal["mlp", "transformer_decoder", "diffusion", "flow", "gmm", "bins"]
EncoderKind = Literal["spatial_softmax", "resnet18", "resnet34", "dinov2", "siglip"]
LoraTarget = Literal["in_proj", "out_proj", "fc1", "fc2"]
TOWER_KINDS = ("dinov2", "siglip")
TOKEN_HEADS = ("transformer_decoder",)

TRUNK_SIZES = {
    "small": (128, 16, 8),
    "base": (256, 16, 8),
    "large": (512, 16, 8),
    "xlarge": (768, 32, 16),
    "huge": (1024, 80, 16),
}
"""Published trunks: embed_dim, num_blocks, num_heads."""


@dataclass(frozen=True)
class EncoderConfig:
    """What turns images into features.

    `spatial_softmax` is small and trained from scratch. The others start from published weights: `resnet18` and
    `resnet34` from torchvision's tensors, `dinov2` and `siglip` from a folder in the layout of transformers.

    weights: a local file or folder, `hf://owner/name[@revision][/file]`, or `random` for a network that saw no images.
    sha256: of the weight file (of several: of their bytes in order of name); a checkpoint tells it here. Empty: any.
    trainable: None is each kind's usual: spatial_softmax is trained, the others stay frozen. Statistics of batch norm
        stay those of the weights in either case: batches of a few windows would spoil them.
    tower: sizes of a transformers network, read from the weights' config.json and kept by the checkpoint; with `random`
        they must be given.
    """

    kind: EncoderKind = "spatial_softmax"
    weights: str = ""
    sha256: str = ""
    trainable: bool | None = None
    tower: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind == "spatial_softmax":
            for name in ("weights", "sha256", "tower"):
                check(not getattr(self, name), name, getattr(self, name), f"nothing: {self.kind} starts from scratch")
            check(self.trainable is not False, "trainable", False, f"true: {self.kind} starts from scratch")
            return
        place = "a file or folder of weights, hf://owner/name, or 'random'"
        check(bool(self.weights), "weights", self.weights, f"{place}, for {self.kind}")
        check_sha256(self.sha256)
        is_tower, random = self.kind in TOWER_KINDS, self.weights == "random"
        check(is_tower or not self.tower, "tower", self.tower, f"nothing: {self.kind} has one size")
        check(bool(self.tower) or not (is_tower and random), "tower", {}, "the sizes of the network, as in config.json")

    @property
    def trained(self) -> bool:
        """Whether training changes the encoder."""
        return self.kind == "spatial_softmax" if self.trainable is None else self.trainable


@dataclass(frozen=True)
class LanguageConfig:
    """How instructions become tokens: by the frozen encoder of a T5, once for each text.

    weights: a folder in the layout of transformers, or `hf://owner/name[@revision]`; a checkpoint holds the tokens of the
        instructions it was trained with and needs the weights for new ones only.
    sha256: of the weight file; empty: any.
    max_tokens: every instruction is padded to this length; a longer one is refused. The published code has 16.
    width: of a token; 768 for T5-base.
    """

    weights: str = "hf://google-t5/t5-base"
    sha256: str = ""
    max_tokens: int = 16
    width: int = 768

    def __post_init__(self) -> None:
        check(bool(self.weights), "weights", self.weights, "a folder with T5's weights, or hf://owner/name")
        check_sha256(self.sha256)
        check(self.max_tokens >= 2, "max_tokens", self.max_tokens, "at least 2: a word and the end")
        check(self.width >= 1, "width", self.width, "at least 1")


@dataclass(frozen=True)
class HeadConfig:
    """What turns the trunk's tokens into a chunk; a kind reads the fields that it has in its comment. See docs/heads.md.

    `draw`: a random chunk from what the head learnt, not the likeliest one. `min_std` is in normalised units.
    """

    kind: HeadKind = "mlp"
    widths: tuple[int, ...] = (256, 128)  # mlp, gmm, bins: hidden layers
    decoder_layers: int = 1  # transformer_decoder
    down_dims: tuple[int, ...] = (64, 128)  # diffusion, flow: channels of the U-Net, from fine to coarse
    denoise_steps: int = 10  # diffusion, flow: calls of the U-Net for one chunk
    train_steps: int = 100  # diffusion
    modes: int = 5  # gmm
    min_std: float = 0.01  # gmm
    bins: int = 256  # bins
    draw: bool = False  # gmm, bins

    def __post_init__(self) -> None:
        widths, down_dims = list(self.widths), list(self.down_dims)
        check(bool(widths) and min(widths) >= 1, "widths", widths, "one width or more, each at least 1")
        in_groups = bool(down_dims) and all(dim >= 8 and dim % 8 == 0 for dim in down_dims)
        check(
            in_groups,
            "down_dims",
            down_dims,
            "one width or more, each a multiple of 8: channels are normalised in 8 groups",
        )
        for name in ("decoder_layers", "denoise_steps", "train_steps", "modes"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check(self.bins >= 2, "bins", self.bins, "at least 2")
        check(self.min_std > 0, "min_std", self.min_std, "> 0")
        fewer = self.kind != "diffusion" or self.denoise_steps <= self.train_steps
        check(fewer, "denoise_steps", self.denoise_steps, f"at most train_steps ({self.train_steps})")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adaptation of the trunk: `alpha / rank` scales the update; `targets` are the layers that get one."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[LoraTarget, ...] = ("in_proj", "out_proj", "fc1", "fc2")

    def __post_init__(self) -> None:
        check(self.rank >= 1, "rank", self.rank, "at least 1")
        check(self.alpha > 0, "alpha", self.alpha, "above 0")
        check(bool(self.targets), "targets", list(self.targets), "one layer or more: in_proj, out_proj, fc1, fc2")

    @property
    def scale(self) -> float:
        """Factor of the update."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class PolicyConfig:
    """The network between encoder and action (HPT, arXiv 2409.20537, section 3 and appendix).

    `*_tokens` are the learnable queries of a stem; `dropout` acts in stems and head, `drop_path` is the probability of
    skipping the last block in training, rising from 0 at the first. In training `history_masking` hides a random number
    of the oldest samples, and `modality_dropout` is the probability that a sample loses one of its modalities.
    `recompute_blocks` trades time for memory: activations of the trunk are computed again in the backward pass.
    """

    embed_dim: int = 128
    num_blocks: int = 2
    num_heads: int = 8
    image_tokens: int = 16
    state_tokens: int = 16
    language_tokens: int = 8
    depth_tokens: int = 16
    stem_hidden: int = 128
    stem_heads: int = 8
    stem_head_dim: int = 64
    pooling: Pooling = "mean"
    head: HeadConfig = field(default_factory=HeadConfig)
    dropout: float = 0.1
    drop_path: float = 0.1
    history_masking: bool = False
    modality_dropout: float = 0.0
    recompute_blocks: bool = False
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    language: LanguageConfig | None = None
    lora: LoraConfig | None = None

    def __post_init__(self) -> None:
        sizes = [name for name in self.__dataclass_fields__ if name.endswith("_tokens")]
        for name in (*sizes, "embed_dim", "num_heads", "stem_hidden", "stem_heads", "stem_head_dim"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check(self.num_blocks >= 0, "num_blocks", self.num_blocks, "at least 0")
        check(
            self.embed_dim % self.num_heads == 0,
            "num_heads",
            self.num_heads,
            f"a divisor of embed_dim ({self.embed_dim})",
        )
        for name in ("dropout", "drop_path", "modality_dropout"):
            check(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more, below 1")
        self._check_head()

    def _check_head(self) -> None:
        """Heads for tokens need tokens, the others a vector; the published MLP can also read action tokens row by row."""
        kind = self.head.kind
        if kind in TOKEN_HEADS:
            allowed: tuple[str, ...] = ("none", "action_token")
        else:
            allowed = ("mean", "max", "last", *(("action_token",) if kind == "mlp" else ()))
        check(self.pooling in allowed, "pooling", self.pooling, f"one of {', '.join(allowed)} with head.kind {kind}")

    @classmethod
    def sized(cls, size: str, **others: Any) -> PolicyConfig:
        """With a trunk of a published size: small, base, large, xlarge or huge.

        Raises:
            ConfigError: no such size.
        """
        check(size in TRUNK_SIZES, "size", size, f"one of {', '.join(TRUNK_SIZES)}")
        embed_dim, num_blocks, num_heads = TRUNK_SIZES[size]
        return cls(embed_dim=embed_dim, num_blocks=num_blocks, num_heads=num_heads, **others)


def check_sha256(found: str) -> None:
    """Raise ConfigError unless it is empty or the 64 hex digits of a SHA-256."""
    fits = not found or re.fullmatch("[0-9a-f]{64}", found) is not None
    check(fits, "sha256", found, "64 hex digits in small letters, as sha256sum prints them")
