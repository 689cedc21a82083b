"""Sizes and regularisation of a policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hpt_ros.configuration import check

Pooling = Literal["mean", "max", "last", "action_token", "none"]
HeadKind = Literal["mlp", "transformer_decoder", "diffusion", "flow", "gmm", "bins"]
EncoderKind = Literal["spatial_softmax", "resnet18"]
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

    `spatial_softmax` is small and trained with the policy. `resnet18` is frozen; `weights` then names a local file with
    torchvision's published tensors, or `random` for a network that was never trained on images.
    """

    kind: EncoderKind = "spatial_softmax"
    weights: str = ""

    def __post_init__(self) -> None:
        if self.kind == "resnet18":
            check(bool(self.weights), "weights", self.weights, "a file of ResNet-18 weights, or 'random'")
        else:
            check(not self.weights, "weights", self.weights, f"nothing: {self.kind} is trained from scratch")


@dataclass(frozen=True)
class HeadConfig:
    """What turns the trunk's tokens into a chunk; a kind reads the fields that it has in its comment."""

    kind: HeadKind = "mlp"
    widths: tuple[int, ...] = (256, 128)  # mlp, gmm, bins: hidden layers

    def __post_init__(self) -> None:
        check(
            bool(self.widths) and min(self.widths) >= 1,
            "widths",
            list(self.widths),
            "one width or more, each at least 1",
        )


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
