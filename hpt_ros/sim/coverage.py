"""Which scenes to demonstrate: spread evenly, as a good operator spreads them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from hpt_ros.sim.tasks import task_named

_CANDIDATES = 20


def spread_seeds(task: str, first_seed: int) -> Iterator[int]:
    """Seeds of scenes, without end: each the one of the next 20 whose cube lies farthest from all that came before.

    Source: D. P. Mitchell, "Spectrally Optimal Sampling for Distribution Ray Tracing", SIGGRAPH 1991 (best candidate).
    """
    chosen = task_named(task)
    taken: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    for start in count(first_seed, _CANDIDATES):
        seeds = range(start, start + _CANDIDATES)
        places = [chosen.start(seed).cube_m for seed in seeds]
        gaps = [min((float(np.linalg.norm(place - other)) for other in taken), default=0.0) for place in places]
        best = int(np.argmax(gaps))
        taken.append(places[best])
        yield seeds[best]
