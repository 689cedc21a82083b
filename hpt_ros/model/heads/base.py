"""What every head can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class HeadFacts:
    """What a user should know before choosing a head; `network_calls` is how often its network runs for one chunk."""

    loss: str
    network_calls: int
    multi_modal: bool
    guarantees: str


class Head(nn.Module, ABC):
    """Context -> chunk. All actions are normalised, (N, rows, A).

    Context is what pooling leaves of the trunk's tokens: a vector (N, D), or tokens (N, L, D) for heads that read tokens.
    """

    @property
    @abstractmethod
    def facts(self) -> HeadFacts:
        """Loss, cost and guarantees."""

    @abstractmethod
    def loss(self, context: Tensor, action: Tensor, valid: Tensor) -> Tensor:
        """Scalar to minimise for target actions (N, rows, A), over the rows (N, rows) that are valid; 0 when none is."""

    @abstractmethod
    def sample(self, context: Tensor, generator: Generator | None = None) -> Tensor:
        """One chunk for each context; heads that draw use `generator`."""


def mean_over_valid(rows: Tensor, valid: Tensor) -> Tensor:
    """Mean of a loss per row (N, rows) over the valid rows; 0 when none is."""
    return (rows * valid).sum() / valid.sum().clamp(min=1)
