"""What a policy has promised already: rows of its last chunk that are executed before, and after, the next one arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import POLICY
from hpt_ros.control.horizon import LEAD_TICKS
from hpt_ros.control.state_machine import State
from hpt_ros.embodiment import Embodiment

_SILENT_NS = 500_000_000
"""Without a word from the commander for so long nobody knows what it does."""

Rows = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Committed:
    """Rows (R, P), columns `embodiment.chunk_columns`, at the times of the chunk to come, and how firmly each is held (R,):
    1 where nothing can change it any more, 0 where nothing was said.
    """

    rows: Rows
    weight: NDArray[np.float64]


class Commitment:
    """Remembers one chunk, and whether the commander follows. Times are nanoseconds of one clock; rows are due `i + 1` periods
    after their chunk's tick.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._period_ns = embodiment.policy.period_ns
        self._lead_s = LEAD_TICKS / embodiment.command.rate_hz
        self._last: tuple[int, Rows] | None = None
        self._followed_ns: int | None = None

    def publish(self, tick_ns: int, rows: Rows) -> None:
        """The chunk that is executed from now on."""
        self._last = tick_ns, rows

    def on_commander(self, state: str, source: str, now_ns: int) -> None:
        """What the commander says: an arm that stands, or that a person drives, owes nothing to a chunk."""
        self._followed_ns = now_ns if state == State.RUNNING.value and source == POLICY else None

    def at(self, tick_ns: int, latency_s: float) -> Committed | None:
        """For a chunk that is begun at `tick_ns` and arrives `latency_s` later; None if nothing is left to go on from.

        Held firmly are the rows that the schedule passes over then: those commanded already (the commander is
        `LEAD_TICKS` ahead) and one due within half a period. From there on the weights fall as in arXiv 2506.07339, eq. 5.
        """
        if self._last is None or self._followed_ns is None or tick_ns - self._followed_ns > _SILENT_NS:
            return None
        before_ns, rows = self._last
        passed = round((tick_ns - before_ns) / self._period_ns)
        overlap = len(rows) - passed
        if passed < 0 or overlap <= 0:
            return None
        firm = int((latency_s + self._lead_s) * 1e9 / self._period_ns + 0.5)
        return Committed(
            np.concatenate([rows[passed:], np.repeat(rows[-1:], passed, axis=0)]), weights(len(rows), firm, overlap)
        )


def weights(rows: int, firm: int, overlap: int) -> NDArray[np.float64]:
    """(rows,): 1 for the first `firm`, falling to 0 at `overlap`."""
    i = np.arange(rows)
    left = np.clip((overlap - i) / (overlap - firm + 1), 0, 1) if firm <= overlap else np.ones(rows)
    return np.where(i < min(firm, overlap), 1.0, np.where(i < overlap, left * np.expm1(left) / np.expm1(1.0), 0.0))
