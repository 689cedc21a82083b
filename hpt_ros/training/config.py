"""Settings of a fine-tuning run; presets lie in config/finetune."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hpt_ros.configuration import check
from hpt_ros.model.config import PolicyConfig
from hpt_ros.presets import load_preset, preset_names

Freeze = int | Literal["none", "all"]


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up, then a cosine to zero over the remaining steps; `grad_clip` bounds the norm of the gradient."""

    lr: float
    warmup_steps: int
    weight_decay: float
    grad_clip: float

    def __post_init__(self) -> None:
        check(self.lr > 0, "lr", self.lr, "> 0")
        check(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, ">= 0")
        check(self.weight_decay >= 0, "weight_decay", self.weight_decay, ">= 0")
        check(self.grad_clip > 0, "grad_clip", self.grad_clip, "> 0")


@dataclass(frozen=True)
class ValidationConfig:
    """`fraction` of the episodes is held out; every `every_steps` at most `max_windows` of their windows are scored."""

    fraction: float = 0.1
    every_steps: int = 100
    max_windows: int = 256

    def __post_init__(self) -> None:
        check(0 <= self.fraction < 1, "fraction", self.fraction, "0 or more, below 1")
        check(self.every_steps >= 1, "every_steps", self.every_steps, "at least 1")
        check(self.max_windows >= 1, "max_windows", self.max_windows, "at least 1")


@dataclass(frozen=True)
class FinetuneConfig:
    """Everything that shapes the result of fine-tuning, besides demonstrations, trunk and seed.

    `freeze` keeps the trunk as it was loaded: `none` or `all` of it, or its first so many blocks.
    """

    policy: PolicyConfig
    optimizer: OptimizerConfig
    steps: int
    batch_size: int
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    freeze: Freeze = "none"

    def __post_init__(self) -> None:
        check(self.steps >= 1, "steps", self.steps, "at least 1")
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(
            self.freeze in ("none", "all")
            or (isinstance(self.freeze, int) and 0 <= self.freeze <= self.policy.num_blocks),
            "freeze",
            self.freeze,
            f"none, all, or 0 to {self.policy.num_blocks} blocks",
        )


def finetune_presets() -> list[str]:
    """Names that `load_finetune_config` knows without a path."""
    return preset_names("finetune")


def load_finetune_config(name_or_path: str | Path) -> FinetuneConfig:
    """The settings of a preset (`sim`) or of a YAML file.

    Raises:
        ConfigError: no such preset or file, or a value in it that cannot be accepted.
    """
    return load_preset(FinetuneConfig, "finetune", name_or_path, "preset")
