"""What goes into a policy, and what encoders make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Features(NamedTuple):
    """What a stem reads: values (N, T, M, ..., D) of T samples and M sensors, and which of them to look at.

    `keep` is bool over some of the leading axes, (N, T, M) or more; None keeps all.
    """

    values: Tensor
    keep: Tensor | None = None


class Tokens(NamedTuple):
    """Tokens (N, L, D), and bool (N, L) where to look; None: everywhere."""

    values: Tensor
    keep: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """N windows of one embodiment, in physical units.

    state: float32 (N, T, S).
    images: camera -> uint8 RGB (N, T, H, W, 3).
    depth: camera -> uint16 (N, T, H, W) [mm], 0 where nothing was measured.
    language, language_keep: float32 (N, L, E) tokens of the instruction, bool (N, L) False where they are padding.
    present: camera, of colour or depth -> bool (N,), False where the sample has no such view and its pixels mean nothing; a camera that is
        not named is present.
    features: what is known of a modality's features; its encoder is not asked for them, and needs no input.
    action, valid: for training, float32 (N, rows, A) and bool (N, rows), False after the end of an episode.
    """

    state: Tensor
    images: Mapping[str, Tensor] = field(default_factory=dict)
    depth: Mapping[str, Tensor] = field(default_factory=dict)
    language: Tensor | None = None
    language_keep: Tensor | None = None
    present: Mapping[str, Tensor] = field(default_factory=dict)
    features: Mapping[str, Features] = field(default_factory=dict)
    action: Tensor | None = None
    valid: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return replace(self, **{f.name: _to(getattr(self, f.name), device) for f in fields(self)})

    def present_views(self, cameras: Sequence[str]) -> Tensor | None:
        """Which of these views each sample has, bool (N, M); None: every sample has all."""
        if not any(name in self.present for name in cameras):
            return None
        everywhere = torch.ones(len(self.state), dtype=torch.bool, device=self.state.device)
        return torch.stack([self.present.get(name, everywhere) for name in cameras], dim=1)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Mapping):
        return {name: _to(item, device) for name, item in value.items()}
    if isinstance(value, Features):
        return Features(*(_to(item, device) for item in value))
    # towards the processor a copy that is not waited for could be read before it is there
    return None if value is None else value.to(device, non_blocking=device.type == "cuda")
