"""Per-dimension min/max scaling of state and action to [-1, 1], stored with the weights under the published names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpt_ros.errors import DataError

SMALLEST_RANGE = 1e-4  # below it a dimension is only shifted: scaling would blow up its noise


class Statistics(nn.Module):
    """What was seen, each (D,) in physical units."""

    min: Tensor
    max: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        for name in ("min", "max", "mean", "std"):
            self.register_buffer(name, torch.zeros(dim))


class Scaling(nn.Module):
    """`normalised = physical * scale + offset`, the identity until it is fitted."""

    scale: Tensor
    offset: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("offset", torch.zeros(dim))
        self.input_stats = Statistics(dim)

    def fit(self, values: NDArray[np.floating], least_ranges: NDArray[np.floating] | float = 0.0) -> None:
        """Set everything from rows (N, D) in physical units; a range below its least one (D,) is not stretched further.

        Raises:
            DataError: no rows, or a value that is not finite.
        """
        if len(values) == 0 or not np.isfinite(values).all():
            raise DataError(f"cannot normalise: {len(values)} rows, all finite: {bool(np.isfinite(values).all())}")
        rows = np.asarray(values, np.float64)
        low, high = rows.min(0), rows.max(0)
        flat = high - low < SMALLEST_RANGE
        scale = 2 / np.where(flat, 2, np.maximum(high - low, least_ranges))
        offset = np.where(flat, -low, -scale * (low + high) / 2)
        seen = {"min": low, "max": high, "mean": rows.mean(0), "std": rows.std(0)}
        self._set(self, {"scale": scale, "offset": offset})
        self._set(self.input_stats, seen)

    def normalize(self, values: Tensor) -> Tensor:
        """Physical units -> [-1, 1], along the last axis."""
        return values * self.scale + self.offset

    def unnormalize(self, values: Tensor) -> Tensor:
        """[-1, 1] -> physical units, along the last axis."""
        return (values - self.offset) / self.scale

    @staticmethod
    def _set(module: nn.Module, values: Mapping[str, NDArray[np.float64]]) -> None:
        for name, value in values.items():
            getattr(module, name).copy_(torch.from_numpy(value))


class Normalizer(nn.Module):
    """The scalings of one embodiment."""

    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__()
        self.params_dict = nn.ModuleDict({"action": Scaling(action_dim), "state": Scaling(state_dim)})

    def fit(
        self,
        state: NDArray[np.floating],
        action: NDArray[np.floating],
        least_ranges: NDArray[np.floating] | float = 0.0,
    ) -> None:
        """Set both scalings from rows (N, S) and (N, A) in physical units; `least_ranges` are those of the action."""
        self.state.fit(state)
        self.action.fit(action, least_ranges)

    @property
    def state(self) -> Scaling:
        """Scaling of the state vector."""
        scaling: Scaling = self.params_dict["state"]  # type: ignore[assignment]
        return scaling

    @property
    def action(self) -> Scaling:
        """Scaling of one action row."""
        scaling: Scaling = self.params_dict["action"]  # type: ignore[assignment]
        return scaling
