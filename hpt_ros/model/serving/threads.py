"""How many threads a phase of a policy step gets. Waiting threads must sleep: other nodes share the cores."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_log = logging.getLogger(__name__)
_ROUNDS = 4
_WORTH = 0.85
"""More threads must take at most this part of the time, as they take cores from others."""


@dataclass(frozen=True)
class Threads:
    """Of image encoders, and of everything after them: small products are faster alone."""

    encoder: int
    rest: int


def warn_if_waiting_burns() -> None:
    """Log a warning when several OpenMP threads would spin at each barrier: a step then takes many times as long beside a
    busy process. Read by the runtime when torch is imported, so that nothing can be done here.
    """
    if os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive" and os.environ.get("GOMP_SPINCOUNT") != "0":
        _log.warning("threads spin while they wait: export OMP_WAIT_POLICY=passive before the process starts")


def candidates(threads: int | None) -> list[int]:
    """Thread counts to try, rising: 1, 2, 4 ... up to the cores of this process, or 1 and `threads`."""
    if threads is not None:
        return sorted({1, threads})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [2**i for i in range(cores.bit_length())]


def fastest(counts: list[int], run: Callable[[], object]) -> int:
    """The count with which `run` is fastest; a larger one only where it pays."""
    if len(counts) == 1:
        return counts[0]
    best_s = dict.fromkeys(counts, float("inf"))
    for _ in range(_ROUNDS):  # in turns, so that a disturbance meets all of them; the first round warms up
        for count in counts:
            torch.set_num_threads(count)
            began = time.perf_counter()
            run()
            best_s[count] = min(best_s[count], time.perf_counter() - began)
    chosen = counts[0]
    for count in counts[1:]:
        if best_s[count] < _WORTH * best_s[chosen]:
            chosen = count
    return chosen
