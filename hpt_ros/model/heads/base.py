"""What every head can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from hpt_ros.model.heads.guidance import Prefix


@dataclass(frozen=True)
class HeadFacts:
    """What a user should know before choosing a head.

    `network_calls` is how often its network runs for one chunk. `multi_modal`: where demonstrations went either of two
    ways, a drawn chunk goes one of them from its first row to its last. `resumes`: a chunk can go on from rows that are given.
    """

    loss: str
    network_calls: int
    multi_modal: bool
    guarantees: str
    use_when: str
    resumes: bool = False


class Head(nn.Module, ABC):
    """Context -> chunk. All actions are normalised, (N, rows, A), and chunks lie inside [-1, 1].

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
        """One chunk for each context; heads that draw use `generator`, on the context's device."""

    def resume(self, context: Tensor, prefix: Prefix, generator: Generator | None = None) -> Tensor:
        """One chunk for each context that goes on from the prefix; heads whose `facts.resumes` is False do not have it."""
        raise NotImplementedError(f"{type(self).__name__} cannot go on from a prefix")


def mean_over_valid(rows: Tensor, valid: Tensor) -> Tensor:
    """Mean of a loss per row (N, rows) over the valid rows; 0 when none is."""
    return (rows * valid).sum() / valid.sum().clamp(min=1)


def hold_last_valid(action: Tensor, valid: Tensor) -> Tensor:
    """Actions (N, rows, A) whose invalid rows repeat the valid row before them, or are 0 where there is none.

    For networks that see all rows of a chunk at once: what stands in an invalid row then reaches no other row.
    """
    rows = torch.arange(valid.shape[1], device=valid.device).expand(valid.shape)
    newest = rows.masked_fill(~valid, 0).cummax(dim=1).values
    held = action.gather(1, newest.unsqueeze(-1).expand(action.shape))
    return held.masked_fill((valid.cumsum(dim=1) == 0).unsqueeze(-1), 0)
