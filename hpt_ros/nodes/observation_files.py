"""What the policy saw, one file a tick: to look at, and to compare with what the recording gives for the same tick."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from queue import Full, Queue

import numpy as np
from numpy.typing import NDArray

from hpt_ros.streams import Observation

_WAITING = 64  # observations; more wait only if the disk does not keep up


class ObservationFiles:
    """Writes `<tick_ns>.npz` into a folder from a thread of its own; a file is there only when it is complete.

    Keys: tick_ns; state (T, S) float32 [rad, m]; image.<camera> (T, H, W, 3) uint8; depth.<camera> (T, H, W) uint16 [mm].
    `missed`: observations that were not written, because the disk was too slow or refused.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._waiting: Queue[Observation | None] = Queue(_WAITING)
        self.missed = 0
        self._thread = threading.Thread(target=self._run, name="observation_files", daemon=True)
        self._thread.start()

    def save(self, observation: Observation) -> None:
        """Hand over an observation, which must not change any more; never waits."""
        try:
            self._waiting.put_nowait(observation)
        except Full:
            self.missed += 1

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (observation := self._waiting.get()) is not None:
            try:
                self._write(observation)
            except OSError:
                self.missed += 1

    def _write(self, observation: Observation) -> None:
        temporary = self._folder / f".{observation.tick_ns}.partial"
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays(observation))
        os.replace(temporary, self._folder / f"{observation.tick_ns}.npz")


def arrays(observation: Observation) -> dict[str, NDArray[np.generic]]:
    """The arrays of an observation by the keys of its file."""
    return {
        "tick_ns": np.array(observation.tick_ns, np.int64),
        "state": observation.state,
        **{f"image.{name}": frames for name, frames in observation.images.items()},
        **{f"depth.{name}": maps for name, maps in observation.depth.items()},
    }
