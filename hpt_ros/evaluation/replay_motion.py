"""A recorded demonstration as a motion that can be sent again, and how well an arm followed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.homing import Homing
from hpt_ros.errors import DataError

Array = NDArray[np.float64]

REST_S = 0.5  # between the way to the first row and the demonstration
_LONGEST_LAG_S = 0.5
_LAG_STEP_S = 0.002


class ReplayMotion:
    """From where the arm stands to the demonstration's first row, slowly, a rest, then the rows at their own pace.

    Args:
        rows: (N, A) commands [rad, m], one per period; the columns after the joints are gripper widths, which are not
            mixed: halfway between open and closed is neither.
        start: (J,) joints where the arm stands [rad].
    """

    def __init__(self, rows: Array, start: Array, period_s: float) -> None:
        if not len(rows):
            raise DataError("the episode has no rows", "choose another --episode")
        self._rows, self._joints, self._period_s = rows, len(start), period_s
        self._way = Homing(0, start, rows[0, : len(start)], None)
        self.begins_s = self._way.duration_s + REST_S
        self.ends_s = self.begins_s + (len(rows) - 1) * period_s

    def at(self, t_s: float) -> Array:
        """The row (A,) at a time since the start; the last one stays."""
        in_rows = (t_s - self.begins_s) / self._period_s
        row: Array = self._rows[int(np.clip(in_rows, 0, len(self._rows) - 1))].copy()
        if in_rows < 0:
            row[: self._joints] = self._way.sample(round(t_s * 1e9)).position
        else:
            places = np.arange(len(self._rows))
            row[: self._joints] = [np.interp(in_rows, places, self._rows[:, j]) for j in range(self._joints)]
        return row

    def chunk(self, t_s: float, count: int) -> Array:
        """Rows (count, A) that are due one period after `t_s`, two periods after it and so on."""
        return np.array([self.at(t_s + (i + 1) * self._period_s) for i in range(count)])


@dataclass(frozen=True)
class Track:
    """Samples over time: t_ns (N,) increasing; q (N, J) [rad]."""

    t_ns: NDArray[np.int64]
    q: Array

    def at(self, t_ns: NDArray[np.int64]) -> Array:
        """Values (M, J) at times, linear between the samples."""
        t_s = (t_ns - self.t_ns[0]) * 1e-9
        own_s = (self.t_ns - self.t_ns[0]) * 1e-9
        return np.column_stack([np.interp(t_s, own_s, column) for column in self.q.T])


@dataclass(frozen=True)
class JointTracking:
    """Measured against commanded: root mean square and largest difference [rad], and the delay [s] that explains it best."""

    name: str
    rms_rad: float
    max_rad: float
    lag_s: float


def tracking(names: Sequence[str], commanded: Track, measured: Track, span_ns: tuple[int, int]) -> list[JointTracking]:
    """Compare at the measured samples whose stamps lie in `span_ns` and within the commands.

    Raises:
        DataError: commands and measurements have no time in common.
    """
    first_ns = max(span_ns[0], int(commanded.t_ns[0]) if len(commanded.t_ns) else span_ns[1])
    last_ns = min(span_ns[1], int(commanded.t_ns[-1]) if len(commanded.t_ns) else span_ns[0])
    inside = (measured.t_ns >= first_ns) & (measured.t_ns <= last_ns)
    if inside.sum() < 2:
        raise DataError("commands and joint states have no time in common", "compare the clocks of the machines")
    t_ns, q = measured.t_ns[inside], measured.q[inside]
    lags_s = np.arange(0, _LONGEST_LAG_S, _LAG_STEP_S)
    rms = np.array([_rms(q - commanded.at(t_ns - round(lag_s * 1e9))) for lag_s in lags_s])
    error = q - commanded.at(t_ns)
    return [
        JointTracking(name, float(rms[0, j]), float(np.abs(error[:, j]).max()), float(lags_s[rms[:, j].argmin()]))
        for j, name in enumerate(names)
    ]


def _rms(error: Array) -> Array:
    result: Array = np.sqrt((error**2).mean(axis=0))
    return result
