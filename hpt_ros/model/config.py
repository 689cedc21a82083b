"""Sizes and regularisation of a policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hpt_ros.configuration import check


@dataclass(frozen=True)
class EncoderConfig:
    """What turns images into features.

    `spatial_softmax` is small and trained with the policy. `resnet18` is frozen; `weights` then names a local file with
    torchvision's published tensors, or `random` for a network that was never trained on images.
    """

    kind: Literal["spatial_softmax", "resnet18"] = "spatial_softmax"
    weights: str = ""

    def __post_init__(self) -> None:
        if self.kind == "resnet18":
            check(bool(self.weights), "weights", self.weights, "a file of ResNet-18 weights, or 'random'")
        else:
            check(not self.weights, "weights", self.weights, f"nothing: {self.kind} is trained from scratch")


@dataclass(frozen=True)
class PolicyConfig:
    """The network between encoder and action (HPT, arXiv 2409.20537, section 3 and appendix).

    `*_tokens` are the learnable queries of a stem; `dropout` acts in stems and head, `drop_path` is the probability of
    skipping the last block in training, rising from 0 at the first.
    """

    embed_dim: int = 128
    num_blocks: int = 2
    num_heads: int = 8
    image_tokens: int = 16
    state_tokens: int = 16
    stem_hidden: int = 128
    stem_heads: int = 8
    stem_head_dim: int = 64
    head_widths: tuple[int, ...] = (256, 128)
    dropout: float = 0.1
    drop_path: float = 0.1
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        sizes = ("embed_dim", "num_heads", "image_tokens", "state_tokens", "stem_hidden", "stem_heads", "stem_head_dim")
        for name in sizes:
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check(self.num_blocks >= 0, "num_blocks", self.num_blocks, "at least 0")
        check(
            self.embed_dim % self.num_heads == 0,
            "num_heads",
            self.num_heads,
            f"a divisor of embed_dim ({self.embed_dim})",
        )
        check(
            bool(self.head_widths) and min(self.head_widths) >= 1,
            "head_widths",
            list(self.head_widths),
            "one width or more, each at least 1",
        )
        for name in ("dropout", "drop_path"):
            check(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more, below 1")
