"""The kinds of input that a policy can have. docs/adding_a_modality.md says how to add one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from hpt_ros.embodiment import Embodiment
from hpt_ros.model.batch import Batch, Features
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.encoders import build_encoder
from hpt_ros.model.encoders.depth import DepthEncoder
from hpt_ros.model.language import LanguageEncoder


class ModalityEncoder(Protocol):
    """A module that finds its input in a batch and turns it into features of width `feature_dim`."""

    feature_dim: int

    def __call__(self, batch: Batch) -> Features: ...


@dataclass(frozen=True)
class Modality:
    """`build` makes the encoder of an embodiment; None when this policy does not have the modality.

    `pretrained=False` leaves weight files unread.
    """

    name: str
    build: Callable[[PolicyConfig, Embodiment, bool], nn.Module | None]


class StateEncoder(nn.Module):
    """The state vector itself, (N, T, S) -> (N, T, 1, S); the policy has normalised it before."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.feature_dim = dim

    def forward(self, batch: Batch) -> Features:
        return Features(batch.state.unsqueeze(2))


def _image(config: PolicyConfig, embodiment: Embodiment, pretrained: bool) -> nn.Module | None:
    return build_encoder(config.encoder, embodiment.cameras, pretrained) if embodiment.cameras else None


def _state(config: PolicyConfig, embodiment: Embodiment, pretrained: bool) -> nn.Module | None:
    return StateEncoder(len(embodiment.state_names))


def _language(config: PolicyConfig, embodiment: Embodiment, pretrained: bool) -> nn.Module | None:
    return LanguageEncoder(config.language) if config.language is not None else None


def _depth(config: PolicyConfig, embodiment: Embodiment, pretrained: bool) -> nn.Module | None:
    return DepthEncoder(embodiment.depth) if embodiment.depth else None


MODALITIES = (
    Modality("image", _image),
    Modality("state", _state),
    Modality("language", _language),
    Modality("depth", _depth),
)
"""In the order of the trunk's tokens: a pre-trained trunk knows image and state, and language after them, by position;
what was added since comes behind them."""
