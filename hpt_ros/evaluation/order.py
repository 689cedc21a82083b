"""In which order checkpoints are tried: balanced blocks, shuffled by a seed, so that neither person nor time of day favours one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from hpt_ros.configuration import check


@dataclass(frozen=True)
class PlannedTrial:
    """The `index`th trial: checkpoint number `candidate`, from the start that all trials of its `block` share."""

    index: int
    block: int
    candidate: int


def planned_trials(candidates: int, seed: int) -> Iterator[PlannedTrial]:
    """Trials without end. Each block holds every candidate once, in an order of its own.

    A longer run begins with the same trials as a shorter one of the same seed.
    """
    check(candidates >= 1, "checkpoints", candidates, "at least one")
    for block in count():
        order = np.random.default_rng([seed, block]).permutation(candidates)
        for place, candidate in enumerate(order):
            yield PlannedTrial(block * candidates + place, block, int(candidate))


def missing(planned: Sequence[PlannedTrial], done: Sequence[int]) -> list[PlannedTrial]:
    """What is still to be tried, given the indices of the trials that count."""
    return [trial for trial in planned if trial.index not in set(done)]
