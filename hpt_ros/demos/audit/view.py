"""An episode as arrays: all that the checks see, whether it comes from a bag or from a demonstration set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """Values (N, D) at times (N,) [s] since the episode's first stamp, ascending."""

    time_s: Array
    values: Array

    def __len__(self) -> int:
        return len(self.time_s)

    def finite(self) -> Series:
        """Without the rows that hold NaN or infinity."""
        good = np.isfinite(self.values).all(axis=1)
        return Series(self.time_s[good], self.values[good])

    def at(self, time_s: Array) -> Array:
        """Linear interpolation, (len(time_s), D); the ends hold outside."""
        columns = [np.interp(time_s, self.time_s, column) for column in self.values.T]
        return np.stack(columns, axis=1) if columns else np.empty((len(time_s), 0))

    def columns(self, selected: slice) -> Series:
        """The same times with some of the columns."""
        return Series(self.time_s, self.values[:, selected])


@dataclass(frozen=True)
class Frames:
    """Pictures of one camera as figures.

    time_s, digest: (F,) of every frame; equal digests are equal pictures. sampled: (K,) indices of the frames whose
    dark and bright shares of pixels (K,) were measured. thumbnails: RGB uint8 (h, w, 3), first, middle and last.
    """

    time_s: Array
    digest: NDArray[np.uint32]
    sampled: NDArray[np.int64]
    dark_share: Array
    bright_share: Array
    thumbnails: tuple[NDArray[np.uint8], ...] = ()


@dataclass(frozen=True)
class Arrivals:
    """Header stamps (N,) [s] since the episode's first, ascending, and receipt minus stamp (N,) [s] of the same messages."""

    time_s: Array
    delay_s: Array


@dataclass(frozen=True)
class Refusal:
    """Messages of a stream that cannot be used: how many, and why the first."""

    stream: str
    count: int
    reason: str


@dataclass(frozen=True)
class EpisodeView:
    """One episode.

    joints: (N, J) [rad] as measured; gripper: (N, 1) [m], None without one; command: (N, A) in force, with its own times.
    streams: by stream key, empty for a demonstration set, which no longer knows its messages.
    """

    name: str
    embodiment: Embodiment
    score: float
    task: str
    joints: Series
    gripper: Series | None
    command: Series
    cameras: dict[str, Frames] = field(default_factory=dict)
    streams: dict[str, Arrivals] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()
    from_demos: bool = False

    @property
    def duration_s(self) -> float:
        """From the first to the last measured angles."""
        return float(self.joints.time_s[-1] - self.joints.time_s[0]) if len(self.joints) else 0.0

    @property
    def joint_command(self) -> Series:
        """The columns of the command that are joints."""
        return self.command.columns(slice(0, len(self.embodiment.joints.names)))

    @property
    def width_command(self) -> Series | None:
        """The column of the command that is the gripper's width [m]."""
        return self.command.columns(slice(-1, None)) if self.embodiment.gripper else None
