"""HPT policy of one embodiment: encoders, stems, trunk, head, normaliser. Tensor names are the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.model.batch import Batch, Features, Tokens
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.heads import Head, build_head
from hpt_ros.model.heads.guidance import Prefix
from hpt_ros.model.language import InstructionCache
from hpt_ros.model.lora import add_lora
from hpt_ros.model.masking import drop_modalities, hide_old_samples, random_history
from hpt_ros.model.modalities import MODALITIES
from hpt_ros.model.normalizer import Normalizer
from hpt_ros.model.pooling import pool
from hpt_ros.model.positions import add_positions
from hpt_ros.model.stem import Stem
from hpt_ros.model.trunk import Trunk


class HPTPolicy(nn.Module):
    """HPT (arXiv 2409.20537) for one embodiment, whose name is the published `domain`.

    Data's way: `encode` -> `tokens` -> `contextual` -> `pooled` -> head.

    Args:
        pretrained: read the weight files that frozen encoders name; False when a checkpoint brings all tensors.

    Raises:
        ConfigError: an embodiment that the network cannot serve.
        DataError: encoder weights that are missing or damaged.
    """

    def __init__(self, config: PolicyConfig, embodiment: Embodiment, *, pretrained: bool = True) -> None:
        super().__init__()
        if not embodiment.cameras:
            raise ConfigError("cameras", [], "at least one camera: the policy sees through them")
        self.config, self.domain, self.embodiment = config, embodiment.name, embodiment
        self.provenance: Mapping[str, Any] = {}
        self.instructions: InstructionCache | None = None
        self.rows = embodiment.policy.action_horizon
        state_dim, action_dim = len(embodiment.state_names), len(embodiment.action_names)
        built = {m.name: m.build(config, embodiment, pretrained) for m in MODALITIES}
        encoders = {name: encoder for name, encoder in built.items() if encoder is not None}
        if isinstance(encoders["image"], ImageEncoder):  # with the hash and the sizes of its weights
            self.config = replace(config, encoder=encoders["image"].config)
        self.modalities = tuple(encoders)
        self.encoders = nn.ModuleDict({self._key(name): encoder for name, encoder in encoders.items()})
        self.stems = nn.ModuleDict({self._key(name): self._stem(name) for name in encoders})
        self.trunk = Trunk(
            config.embed_dim, config.num_blocks, config.num_heads, config.drop_path, recompute=config.recompute_blocks
        )
        self.action_tokens = nn.ParameterDict(
            {self.domain: nn.Parameter(torch.randn(1, self.rows, config.embed_dim) * 0.02)}
            if config.pooling == "action_token"
            else {}
        )
        self.heads = nn.ModuleDict({self.domain: build_head(config, action_dim, self.rows)})
        self.normalizer = nn.ModuleDict({self.domain: Normalizer(state_dim, action_dim)})
        if config.lora is not None:
            add_lora(self.trunk, config.lora)

    @classmethod
    def from_pretrained(cls, source: str | Path, embodiment: Embodiment | None = None, **options: Any) -> HPTPolicy:
        """`hpt_ros.model.from_pretrained.load_pretrained`: a policy from a checkpoint, published files or hf://owner/name."""
        from hpt_ros.model.from_pretrained import load_pretrained

        return load_pretrained(source, embodiment, **options)

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """`hpt_ros.model.from_pretrained.push`: a checkpoint of this policy, with a model card, to owner/name on the hub."""
        from hpt_ros.model.from_pretrained import push

        return push(self, repo, **options)

    @property
    def scaling(self) -> Normalizer:
        """Normaliser of this embodiment."""
        normalizer: Normalizer = self.normalizer[self.domain]  # type: ignore[assignment]
        return normalizer

    @property
    def head(self) -> Head:
        """Head of this embodiment."""
        head: Head = self.heads[self.domain]  # type: ignore[assignment]
        return head

    def encoder(self, modality: str) -> nn.Module:
        """Encoder of a modality; its features are what a frozen one lets one compute once."""
        return self.encoders[self._key(modality)]

    def encode(self, batch: Batch) -> dict[str, Features]:
        """Features by modality."""
        normalized = replace(batch, state=self.scaling.state.normalize(batch.state))
        known = batch.features
        return {name: known[name] if name in known else self.encoder(name)(normalized) for name in self.modalities}

    def tokens(self, features: Mapping[str, Features]) -> Tokens:
        """Stem tokens, modality after modality, then the action tokens if pooling reads them; masked in training."""
        c = self.config
        if self.training and c.history_masking:
            features = self._hide_history(features)
        parts = [self.stems[self._key(name)](features[name]) for name in self.modalities]
        if self.training and c.modality_dropout > 0:
            parts = drop_modalities(parts, c.modality_dropout)
        if self.domain in self.action_tokens:
            parts.append(Tokens(self.action_tokens[self.domain].expand(len(parts[0].values), -1, -1)))
        return _concatenate(parts)

    def contextual(self, tokens: Tokens) -> Tokens:
        """Tokens after the trunk."""
        out: Tokens = self.trunk(Tokens(add_positions(tokens.values), tokens.keep))
        return out

    def pooled(self, features: Mapping[str, Features]) -> Tensor:
        """What the head reads: a vector (N, embed_dim), or tokens (N, L, embed_dim)."""
        return pool(self.contextual(self.tokens(features)), self.config.pooling, self.rows)

    def act(
        self, features: Mapping[str, Features], generator: Generator | None = None, prefix: Prefix | None = None
    ) -> Tensor:
        """Normalised chunk (N, rows, A); with a prefix one that goes on from it."""
        context = self.pooled(features)
        return self.head.sample(context, generator) if prefix is None else self.head.resume(context, prefix, generator)

    def forward(self, batch: Batch, generator: Generator | None = None) -> Tensor:
        """Normalised chunk (N, rows, A)."""
        return self.act(self.encode(batch), generator)

    def predict(self, batch: Batch, generator: Generator | None = None) -> Tensor:
        """Chunk (N, rows, A) in physical units."""
        return self.scaling.action.unnormalize(self(batch, generator))

    def loss(self, batch: Batch) -> Tensor:
        """The head's loss over the valid rows, in normalised units."""
        return self.loss_of(self.encode(batch), batch)

    def loss_of(self, features: Mapping[str, Features], batch: Batch) -> Tensor:
        """`loss` from features that are already there; of the batch only action and valid are read."""
        if batch.action is None or batch.valid is None:
            raise ValueError("a loss needs action and valid")
        return self.head.loss(self.pooled(features), self.scaling.action.normalize(batch.action), batch.valid)

    def _hide_history(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """The same samples for every modality that has a history; language has none."""
        values = features["state"].values
        hidden = random_history(len(values), values.shape[1], values.device)
        return {
            name: hide_old_samples(f, hidden) if f.values.shape[1] == values.shape[1] else f
            for name, f in features.items()
        }

    def _key(self, modality: str) -> str:
        return f"{self.domain}_{modality}"

    def _stem(self, modality: str) -> Stem:
        c, encoder = self.config, self.encoder(modality)
        return Stem(
            encoder.feature_dim,  # type: ignore[arg-type]
            hidden=c.stem_hidden,
            embed_dim=c.embed_dim,
            tokens=getattr(c, f"{modality}_tokens"),
            heads=c.stem_heads,
            head_dim=c.stem_head_dim,
            dropout=c.dropout,
        )


def _concatenate(parts: list[Tokens]) -> Tokens:
    values = torch.cat([part.values for part in parts], dim=1)
    if all(part.keep is None for part in parts):
        return Tokens(values)
    keeps = [p.values.new_ones(p.values.shape[:2], dtype=torch.bool) if p.keep is None else p.keep for p in parts]
    return Tokens(values, torch.cat(keeps, dim=1))
