"""HPT policy of one embodiment: encoder, stems, trunk, head, normaliser. Tensor names are the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.encoders import build_encoder
from hpt_ros.model.head import MLPHead
from hpt_ros.model.normalizer import Normalizer
from hpt_ros.model.positions import add_positions
from hpt_ros.model.stem import Stem
from hpt_ros.model.trunk import Trunk

HUBER_BETA = 0.05  # in normalised units, as in the published training code


@dataclass(frozen=True)
class Batch:
    """N windows of one embodiment, in physical units.

    state float32 (N, T, S); images by camera name, each uint8 RGB (N, T, H, W, 3); for training also action float32
    (N, rows, A) and valid bool (N, rows), False where a row lies after the end of its episode.
    """

    state: Tensor
    images: Mapping[str, Tensor]
    action: Tensor | None = None
    valid: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(
            state=self.state.to(device),
            images={name: pixels.to(device) for name, pixels in self.images.items()},
            action=None if self.action is None else self.action.to(device),
            valid=None if self.valid is None else self.valid.to(device),
        )


class HPTPolicy(nn.Module):
    """HPT (arXiv 2409.20537) for one embodiment, whose name is the published `domain`.

    Args:
        pretrained: read the weight file that a frozen encoder names; False when a checkpoint brings all tensors.

    Raises:
        ConfigError: an embodiment that the network cannot serve.
        DataError: encoder weights that are missing or damaged.
    """

    def __init__(self, config: PolicyConfig, embodiment: Embodiment, *, pretrained: bool = True) -> None:
        super().__init__()
        if not embodiment.cameras:
            raise ConfigError("cameras", [], "at least one camera: the policy sees through them")
        self.config, self.domain = config, embodiment.name
        state_dim, action_dim = len(embodiment.state_names), len(embodiment.action_names)
        encoder = build_encoder(config.encoder, embodiment.cameras, pretrained)
        self.encoders = nn.ModuleDict({f"{self.domain}_image": encoder})
        self.stems = nn.ModuleDict(
            {
                f"{self.domain}_image": self._stem(encoder.feature_dim, config.image_tokens),
                f"{self.domain}_state": self._stem(state_dim, config.state_tokens),
            }
        )
        self.trunk = Trunk(config.embed_dim, config.num_blocks, config.num_heads, config.drop_path)
        self.heads = nn.ModuleDict({self.domain: self._head(action_dim, embodiment.policy.action_horizon)})
        self.normalizer = nn.ModuleDict({self.domain: Normalizer(state_dim, action_dim)})

    @property
    def scaling(self) -> Normalizer:
        """Normaliser of this embodiment."""
        normalizer: Normalizer = self.normalizer[self.domain]  # type: ignore[assignment]
        return normalizer

    def encode(self, images: Mapping[str, Tensor]) -> Tensor:
        """Image features (N, T, M, P, D): what a frozen encoder lets one compute once."""
        features: Tensor = self.encoders[f"{self.domain}_image"](images)
        return features

    def tokens(self, features: Tensor, state: Tensor) -> Tensor:
        """Stem tokens (N, L, embed_dim), image first, from image features and state (N, T, S) in physical units."""
        seen = self.stems[f"{self.domain}_image"](features)
        felt = self.stems[f"{self.domain}_state"](self.scaling.state.normalize(state))
        return torch.cat([seen, felt], dim=1)

    def contextual(self, tokens: Tensor) -> Tensor:
        """Stem tokens after the trunk, (N, L, embed_dim)."""
        out: Tensor = self.trunk(add_positions(tokens))
        return out

    def act(self, features: Tensor, state: Tensor) -> Tensor:
        """Normalised chunk (N, rows, A) in (-1, 1): the head reads the mean over the trunk's tokens."""
        chunk: Tensor = self.heads[self.domain](self.contextual(self.tokens(features, state)).mean(dim=1))
        return chunk

    def forward(self, batch: Batch) -> Tensor:
        """Normalised chunk (N, rows, A) in (-1, 1)."""
        return self.act(self.encode(batch.images), batch.state)

    def predict(self, batch: Batch) -> Tensor:
        """Chunk (N, rows, A) in physical units."""
        return self.scaling.action.unnormalize(self(batch))

    def loss(self, batch: Batch) -> Tensor:
        """Mean smooth-L1 (beta 0.05) between normalised chunks over the valid rows; 0 when no row is valid."""
        if batch.action is None or batch.valid is None:
            raise ValueError("a loss needs action and valid")
        target = self.scaling.action.normalize(batch.action)
        rows = F.smooth_l1_loss(self(batch), target, beta=HUBER_BETA, reduction="none").mean(dim=-1)
        return (rows * batch.valid).sum() / batch.valid.sum().clamp(min=1)

    def _stem(self, input_dim: int, tokens: int) -> Stem:
        c = self.config
        return Stem(
            input_dim,
            hidden=c.stem_hidden,
            embed_dim=c.embed_dim,
            tokens=tokens,
            heads=c.stem_heads,
            head_dim=c.stem_head_dim,
            dropout=c.dropout,
        )

    def _head(self, action_dim: int, horizon: int) -> MLPHead:
        return MLPHead(self.config.embed_dim, self.config.head_widths, action_dim, horizon, self.config.dropout)
