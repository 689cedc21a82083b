"""Read a demonstration set."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos.store import FORMAT_VERSION, INDEX
from hpt_ros.embodiment import Embodiment, embodiment_from, fingerprint
from hpt_ros.errors import ConfigError, DataError


@dataclass(frozen=True)
class Episode:
    """Rows [start, stop) of the set, and where they come from."""

    start: int
    stop: int
    score: float
    task: str
    instruction: str
    operator: str
    termination: str
    software: str
    source: str


class Window(NamedTuple):
    """One training sample.

    state: float32 (T, S) [rad, m], oldest first.
    images: camera -> uint8 (T, H, W, 3), RGB.
    depth: depth camera -> uint16 (T, H, W) [mm], 0 where nothing was measured.
    action: float32 (H, A), row i is the command in force i + 1 periods later.
    valid: bool (H,), False where the episode has ended and the last command is repeated.
    """

    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    depth: dict[str, NDArray[np.uint16]]
    action: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Demos:
    """A demonstration set of N ticks; images and depth are memory-mapped.

    state: float32 (N, S); command: float32 (N, A), in force at the tick; tick_ns: int64 (N,); images: camera -> uint8
    (N, H, W, 3); depth: depth camera -> uint16 (N, H, W) [mm]. statistics: `["state" | "command"]["min" | "max" | "mean" | "std"]` -> one number per column.
    """

    path: Path
    embodiment: Embodiment
    fingerprint: str
    episodes: tuple[Episode, ...]
    statistics: dict[str, dict[str, list[float]]]
    sync: dict[str, dict[str, Any]]
    state: NDArray[np.float32]
    command: NDArray[np.float32]
    tick_ns: NDArray[np.int64]
    images: dict[str, NDArray[np.uint8]]
    depth: dict[str, NDArray[np.uint16]]
    episode_of: NDArray[np.int64]

    @classmethod
    def open(cls, path: Path | str) -> Demos:
        """Open the folder that `convert` wrote.

        Raises:
            DataError: it is no demonstration set, is damaged, or has another format version.
        """
        path = Path(path)
        try:
            index = json.loads((path / INDEX).read_text())
            if index["format"] != FORMAT_VERSION:
                raise DataError(
                    f"{path}: format {index['format']}, expected {FORMAT_VERSION}", "convert the bags again"
                )
            embodiment = embodiment_from(index["embodiment"])
            names = {f.name for f in fields(Episode)}
            episodes = tuple(Episode(**{k: v for k, v in e.items() if k in names}) for e in index["episodes"])
            demos = cls(
                path=path,
                embodiment=embodiment,
                fingerprint=index["fingerprint"],
                episodes=episodes,
                statistics=index["statistics"],
                sync=index["sync"],
                state=np.load(path / "state.npy"),
                command=np.load(path / "command.npy"),
                tick_ns=np.load(path / "tick_ns.npy"),
                images={c.name: np.load(path / "images" / f"{c.name}.npy", mmap_mode="r") for c in embodiment.cameras},
                depth={c.name: np.load(path / "depth" / f"{c.name}.npy", mmap_mode="r") for c in embodiment.depth},
                episode_of=np.repeat(np.arange(len(episodes)), [e.stop - e.start for e in episodes]),
            )
        except FileNotFoundError as error:
            raise DataError(f"{path}: no {Path(error.filename).name}", "convert bags with `hpt-ros convert`") from error
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: damaged demonstration set: {error}", "convert the bags again") from error
        demos._check()
        return demos

    def __len__(self) -> int:
        return len(self.state)

    def window(self, i: int) -> Window:
        """The training sample at tick `i`: history up to it, action chunk after it.

        Before the episode's start the history repeats the first tick.
        """
        policy = self.embodiment.policy
        episode = self.episodes[self.episode_of[i]]
        past = np.maximum(np.arange(i - policy.observation_horizon + 1, i + 1), episode.start)
        future = np.arange(i + 1, i + 1 + policy.action_horizon)
        return Window(
            state=self.state[past],
            images={name: np.asarray(frames[past]) for name, frames in self.images.items()},
            depth={name: np.asarray(frames[past]) for name, frames in self.depth.items()},
            action=self.command[np.minimum(future, episode.stop - 1)],
            valid=future < episode.stop,
        )

    def _check(self) -> None:
        frames = [len(x) for x in self.images.values()] + [len(x) for x in self.depth.values()]
        lengths = {len(self.command), len(self.tick_ns), len(self.episode_of), *frames}
        if lengths - {len(self)} or self.fingerprint != fingerprint(self.embodiment):
            raise DataError(f"{self.path}: the parts do not belong together", "convert the bags again")
