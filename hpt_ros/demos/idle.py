"""Standing still before the first and after the last motion teaches a policy to stand still: it is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.schema import GRIPPER_NAME

MOVING_RAD_S = 0.01
MOVING_M_S = 0.005  # of the gripper's width
MARGIN_S = 0.5


@dataclass(frozen=True)
class Activity:
    """Rows [start, stop) are kept; `idle_share` is the part of them without motion.

    `never_moves`: there is no motion at all, and nothing was cut off.
    """

    start: int
    stop: int
    idle_share: float
    never_moves: bool = False


def activity(commands: NDArray[np.float32], names: Sequence[str], period_s: float, keep_idle: bool) -> Activity:
    """Where an episode's commands (N, A) move, with a margin of `MARGIN_S` at both ends; all rows with `keep_idle`.

    A row moves if a joint goes faster than `MOVING_RAD_S`, or the gripper than `MOVING_M_S`, to it or from it.
    """
    rows = len(commands)
    limits = np.array([MOVING_M_S if name == GRIPPER_NAME else MOVING_RAD_S for name in names])
    speeds = np.abs(np.diff(commands.astype(np.float64), axis=0)) / period_s
    steps = (speeds > limits).any(axis=1)
    moving = np.zeros(rows, dtype=bool)
    moving[:-1] |= steps
    moving[1:] |= steps
    at = np.flatnonzero(moving)
    start, stop = 0, rows
    if len(at) and not keep_idle:
        margin = round(MARGIN_S / period_s)
        start, stop = max(0, int(at[0]) - margin), min(rows, int(at[-1]) + 1 + margin)
    return Activity(start, stop, round(1 - float(moving[start:stop].mean()), 4), never_moves=not len(at))
