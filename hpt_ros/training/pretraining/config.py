"""Settings of pre-training; presets lie in config/pretrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hpt_ros.configuration import check
from hpt_ros.model.config import TRUNK_SIZES, PolicyConfig
from hpt_ros.presets import load_preset, preset_names
from hpt_ros.training.config import ComputeConfig, OptimizerConfig, ValidationConfig

Parallel = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that shapes the result of pre-training, besides the demonstrations and the seed.

    domains: demonstration sets by domain; the sets of a domain share stems and head. One robot with two tasks is two domains,
        unless instructions tell the tasks apart.
    draws: sets drawn for one step, over all workers; a step learns from `draws * batch_size` windows.
    exponent: a set is drawn with a probability proportional to its number of windows to this power; the paper's is 0.5.
    parallel: with several processes: `ddp`, the whole trunk on each; or `fsdp`, each with its share of weights, gradients and moments.
    cache_features: compute what a frozen image encoder gives once and keep it beside each set, as fine-tuning does.
    """

    policy: PolicyConfig
    optimizer: OptimizerConfig
    steps: int
    batch_size: int
    draws: int = 1
    exponent: float = 0.5
    domains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    parallel: Parallel = "ddp"
    cache_features: bool = True
    state_every_s: float = 300.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "draws"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check(self.state_every_s >= 0, "state_every_s", self.state_every_s, "at least 0")
        check(not self.compute.compile, "compute.compile", True, "false: every domain has another graph")
        check(self.parallel in ("ddp", "fsdp"), "parallel", self.parallel, "ddp or fsdp")
        check(0 <= self.exponent <= 1, "exponent", self.exponent, "0 (all sets alike) to 1 (all windows alike)")
        blocks, lora = self.policy.num_blocks, self.policy.lora
        check(blocks >= 1, "policy.num_blocks", blocks, "at least 1: there is no trunk to pre-train without")
        check(lora is None, "policy.lora", lora, "none: pre-training trains the whole trunk")
        for domain, sets in self.domains.items():
            check(domain.isidentifier(), f"domains.{domain}", domain, "letters, digits and underscores")
            check(bool(sets), f"domains.{domain}", list(sets), "at least one demonstration set")

    @property
    def caches(self) -> bool:
        """Whether image features are computed once."""
        return self.cache_features and not self.policy.encoder.trained

    def with_sets(self, added: Sequence[tuple[str, Path]]) -> PretrainConfig:
        """With further sets, each of a domain."""
        domains = dict(self.domains)
        for domain, path in added:
            domains[domain] = (*domains.get(domain, ()), str(path))
        return replace(self, domains=domains)

    def sized(self, size: str) -> PretrainConfig:
        """With a trunk of a published size: small, base, large, xlarge or huge.

        Raises:
            ConfigError: no such size.
        """
        check(size in TRUNK_SIZES, "size", size, f"one of {', '.join(TRUNK_SIZES)}")
        embed_dim, num_blocks, num_heads = TRUNK_SIZES[size]
        policy = replace(self.policy, embed_dim=embed_dim, num_blocks=num_blocks, num_heads=num_heads)
        return replace(self, policy=policy)


def pretrain_presets() -> list[str]:
    """Names that `load_pretrain_config` knows without a path."""
    return preset_names("pretrain")


def load_pretrain_config(name_or_path: str | Path) -> PretrainConfig:
    """The settings of a preset (`sim`) or of a YAML file.

    Raises:
        ConfigError: no such preset or file, or a value in it that cannot be accepted.
    """
    return load_preset(PretrainConfig, "pretrain", name_or_path, "preset")
