"""Settings of a fine-tuning run; presets lie in config/finetune."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hpt_ros.configuration import check
from hpt_ros.model.config import PolicyConfig
from hpt_ros.presets import load_preset, preset_names

Freeze = int | Literal["none", "all"]
Precision = Literal["fp32", "bf16"]
Interventions = Literal["keep", "drop", "only"]


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up, then a cosine to zero over the remaining steps.

    lr, trunk_lr: of everything but the trunk, and of the trunk; None: the same.
    weight_decay: of matrices and convolutions; norms, biases and learnt tokens have none.
    grad_clip: bounds the norm of the gradient over all parameters.
    ema_decay: above 0, an average of the weights with this decay is validated and saved in place of the weights.
    """

    lr: float
    warmup_steps: int
    weight_decay: float
    grad_clip: float
    trunk_lr: float | None = None
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        check(self.lr > 0, "lr", self.lr, "> 0")
        check(self.trunk_lr is None or self.trunk_lr > 0, "trunk_lr", self.trunk_lr, "> 0, or nothing: as lr")
        check(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, ">= 0")
        check(self.weight_decay >= 0, "weight_decay", self.weight_decay, ">= 0")
        check(self.grad_clip > 0, "grad_clip", self.grad_clip, "> 0")
        check(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "0 or more, below 1")


@dataclass(frozen=True)
class ComputeConfig:
    """How the arithmetic is done.

    precision: bf16: matrix products in bfloat16, weights and their updates in float32.
    compile: torch.compile of the network; needs a C++ compiler, and minutes before the first step.
    """

    precision: Precision = "fp32"
    compile: bool = False

    def __post_init__(self) -> None:
        check(self.precision in ("fp32", "bf16"), "precision", self.precision, "fp32 or bf16")


@dataclass(frozen=True)
class ValidationConfig:
    """`fraction` of the episodes of each task is held out; every `every_steps` at most `max_windows` of their windows are scored.

    `patience` above 0 ends the run after so many validations without a lower loss.
    """

    fraction: float = 0.1
    every_steps: int = 100
    max_windows: int = 256
    patience: int = 0

    def __post_init__(self) -> None:
        check(0 <= self.fraction < 1, "fraction", self.fraction, "0 or more, below 1")
        check(self.every_steps >= 1, "every_steps", self.every_steps, "at least 1")
        check(self.max_windows >= 1, "max_windows", self.max_windows, "at least 1")
        check(self.patience >= 0, "patience", self.patience, "at least 0")
        watched = self.fraction > 0 or self.patience == 0
        check(watched, "patience", self.patience, "0 where fraction is 0: nothing is held out that could stop the run")


@dataclass(frozen=True)
class ScoresConfig:
    """Which episodes are learnt from: those scored `min` or better, drawn with probability proportional to score ** `exponent`."""

    min: float = 0.0
    exponent: float = 0.0

    def __post_init__(self) -> None:
        check(0 <= self.min <= 1, "min", self.min, "0 to 1")
        check(self.exponent >= 0, "exponent", self.exponent, "at least 0")


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of the training images; validation and serving see them as they are. One draw serves a window's history.

    shift: most that a view moves in either direction, as a fraction of its side; edges are repeated.
    brightness, contrast, saturation: most by which each differs from 1.
    copies: where features of a frozen encoder are cached: so many changed copies besides the plain one.
    """

    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    copies: int = 0

    def __post_init__(self) -> None:
        check(0 <= self.shift <= 0.5, "shift", self.shift, "0 to 0.5")
        for name in ("brightness", "contrast", "saturation"):
            check(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more, below 1")
        check(self.copies >= 0, "copies", self.copies, "at least 0")
        check(self.active or self.copies == 0, "copies", self.copies, "0 where nothing is changed")

    @property
    def active(self) -> bool:
        """Whether anything is changed."""
        return max(self.shift, self.brightness, self.contrast, self.saturation) > 0


@dataclass(frozen=True)
class FinetuneConfig:
    """Everything that shapes the result of fine-tuning, besides demonstrations, trunk and seed.

    `freeze` keeps the trunk as it was loaded: `none` or `all` of it, or its first so many blocks. `cache_features`:
    compute what a frozen image encoder gives once and keep it beside the demonstrations. The state that an interrupted run
    goes on from is written after the first step and every `state_every_s`. `interventions`: whether windows whose next
    command a person gave while a policy ran are learnt from like others, not at all, or alone.
    """

    policy: PolicyConfig
    optimizer: OptimizerConfig
    steps: int
    batch_size: int
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    freeze: Freeze = "none"
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    scores: ScoresConfig = field(default_factory=ScoresConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    cache_features: bool = True
    interventions: Interventions = "keep"
    state_every_s: float = 60.0

    def __post_init__(self) -> None:
        check(self.steps >= 1, "steps", self.steps, "at least 1")
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(self.state_every_s >= 0, "state_every_s", self.state_every_s, "at least 0")
        check(
            self.freeze in ("none", "all")
            or (isinstance(self.freeze, int) and 0 <= self.freeze <= self.policy.num_blocks),
            "freeze",
            self.freeze,
            f"none, all, or 0 to {self.policy.num_blocks} blocks",
        )
        check(self.interventions in ("keep", "drop", "only"), "interventions", self.interventions, "keep, drop or only")
        copies, caches = self.augmentation.copies, self.caches
        if self.augmentation.active:
            check((copies > 0) == caches, "augmentation.copies", copies, "1 or more with cached features, else 0")

    @property
    def caches(self) -> bool:
        """Whether image features are computed once."""
        return self.cache_features and not self.policy.encoder.trained


def finetune_presets() -> list[str]:
    """Names that `load_finetune_config` knows without a path."""
    return preset_names("finetune")


def load_finetune_config(name_or_path: str | Path) -> FinetuneConfig:
    """The settings of a preset (`sim`) or of a YAML file.

    Raises:
        ConfigError: no such preset or file, or a value in it that cannot be accepted.
    """
    return load_preset(FinetuneConfig, "finetune", name_or_path, "preset")
