"""Which scenes to demonstrate: spread evenly, as a good operator spreads them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from hpt_ros.sim.tasks import Start, task_named

_CANDIDATES = 20


def spread_seeds(task: str, first_seed: int) -> Iterator[int]:
    """Seeds of scenes, without end: each the one of the next 20 whose cube, and mark if there is one, lie farthest from all that came before.

    Source: D. P. Mitchell, "Spectrally Optimal Sampling for Distribution Ray Tracing", SIGGRAPH 1991 (best candidate).
    """
    chosen = task_named(task)
    taken: list[NDArray[np.float64]] = []
    for start in count(first_seed, _CANDIDATES):
        seeds = range(start, start + _CANDIDATES)
        places = [_places(chosen.start(seed)) for seed in seeds]
        gaps = [min((float(np.linalg.norm(place - other)) for other in taken), default=0.0) for place in places]
        best = int(np.argmax(gaps))
        taken.append(places[best])
        yield seeds[best]


def _places(start: Start) -> NDArray[np.float64]:
    """What a person would lay out differently each time."""
    return start.cube_m if start.mark_m is None else np.concatenate([start.cube_m, start.mark_m])
