"""Read a demonstration set."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.actions import action_space
from hpt_ros.demos.frames import EncodedFrames, Form, Frames
from hpt_ros.demos.pixels import cached_pixels
from hpt_ros.demos.store import FORMAT_VERSION, INDEX, READABLE_VERSIONS
from hpt_ros.embodiment import Camera, Embodiment, embodiment_from, fingerprint
from hpt_ros.errors import ConfigError, DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Episode:
    """Rows [start, stop) of the set, and where they come from. `scene_seed`: of a simulated scene that is known."""

    start: int
    stop: int
    score: float
    task: str
    instruction: str
    operator: str
    termination: str
    software: str
    source: str
    scene_seed: int | None = None


class Window(NamedTuple):
    """One training sample.

    state: float32 (T, S) [rad, m], oldest first.
    images: camera -> uint8 (T, H, W, 3), RGB.
    depth: depth camera -> uint16 (T, H, W) [mm], 0 where nothing was measured.
    action: float32 (H, A), row i is the command in force i + 1 periods later, as the embodiment's kind of action.
    valid: bool (H,), False where the episode has ended and the last command is repeated.
    intervention: bool (H,), True where the command is a person's though a policy ran; None where the set does not tell.
    """

    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    depth: dict[str, NDArray[np.uint16]]
    action: NDArray[np.float32]
    valid: NDArray[np.bool_]
    intervention: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Demos:
    """A demonstration set of N ticks; images and depth are memory-mapped, image files are decoded when they are read.

    state: float32 (N, S); command: float32 (N, C), joints and gripper in force at the tick; tick_ns: int64 (N,); images: camera -> uint8
    (N, H, W, 3), RGB; depth: depth camera -> uint16 (N, H, W) [mm]. statistics: `["state" | "command"]["min" | "max" | "mean" | "std"]` -> one number per column. files_sha256: camera -> hash of its image files.
    intervention: bool (N,), the command at the tick is a person's though a policy ran; None where that is not known.
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
    images: dict[str, Frames]
    depth: dict[str, NDArray[np.uint16]]
    episode_of: NDArray[np.int64]
    files_sha256: dict[str, str] = field(default_factory=dict)
    intervention: NDArray[np.bool_] | None = None

    @classmethod
    def open(cls, path: Path | str) -> Demos:
        """Open the folder that `convert` wrote.

        Raises:
            DataError: it is no demonstration set, is damaged, or has another format version.
        """
        path = Path(path)
        try:
            index = json.loads((path / INDEX).read_text())
            if index["format"] not in READABLE_VERSIONS:
                raise DataError(
                    f"{path}: format {index['format']}, expected {FORMAT_VERSION}: another version of hpt_ros wrote it",
                    f"convert the bags again: hpt-ros convert BAGS --out {path} --overwrite",
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
                images={c.name: _frames(path, c, index["images"][c.name]["form"]) for c in embodiment.cameras},
                depth={c.name: np.load(path / "depth" / f"{c.name}.npy", mmap_mode="r") for c in embodiment.depth},
                episode_of=np.repeat(np.arange(len(episodes)), [e.stop - e.start for e in episodes]),
                files_sha256={name: about["sha256"] for name, about in index["images"].items() if "sha256" in about},
                intervention=_interventions(path / "intervention.npy"),
            )
        except FileNotFoundError as error:
            raise DataError(f"{path}: no {Path(error.filename).name}", "convert bags with `hpt-ros convert`") from error
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: damaged demonstration set: {error}", "convert the bags again") from error
        demos._check()
        return demos

    def __len__(self) -> int:
        return len(self.state)

    def __getitem__(self, i: int) -> dict[str, NDArray[Any]]:
        """The window at tick `i` as named arrays: `state`, `image.<camera>`, `depth.<camera>`, `action`, `valid`, `intervention` where it is known."""
        window = self.window(range(len(self))[i])
        return {
            "state": window.state,
            **{f"image.{name}": frames for name, frames in window.images.items()},
            **{f"depth.{name}": maps for name, maps in window.depth.items()},
            "action": window.action,
            "valid": window.valid,
            **({} if window.intervention is None else {"intervention": window.intervention}),
        }

    def window(self, i: int) -> Window:
        """The training sample at tick `i`: history up to it, action chunk after it.

        Before the episode's start the history repeats the first tick.
        """
        episode = self.episodes[self.episode_of[i]]
        past, future, valid = window_rows(self.embodiment, i, episode.start, episode.stop)
        return Window(
            state=self.state[past],
            images={name: np.asarray(frames[past]) for name, frames in self.images.items()},
            depth={name: np.asarray(frames[past]) for name, frames in self.depth.items()},
            action=action_space(self.embodiment).encode(self.command[future], self.state[i]),
            valid=valid,
            intervention=None if self.intervention is None else self.intervention[future],
        )

    def pixels(self, camera: str) -> NDArray[np.uint8]:
        """The frames of a camera as an array that is memory-mapped and decoded already, see `hpt_ros.demos.pixels`.

        Raises:
            DataError: there is no room for it beside the set, or a frame cannot be decoded.
        """
        frames = self.images[camera]
        if not isinstance(frames, EncodedFrames):
            return frames
        view = next(view for view in self.embodiment.cameras if view.name == camera)
        return cached_pixels(self.path, view, frames, self.files_sha256[camera])

    def decoded(self) -> Demos:
        """This set with `pixels` for images: for whoever reads frames more than once, in any order.

        Raises:
            DataError: as `pixels`.
        """
        return replace(self, images={camera: self.pixels(camera) for camera in self.images})

    def _check(self) -> None:
        frames = [len(x) for x in self.images.values()] + [len(x) for x in self.depth.values()]
        flags = self.tick_ns if self.intervention is None else self.intervention
        lengths = {len(self.command), len(self.tick_ns), len(self.episode_of), len(flags), *frames}
        if lengths - {len(self)} or self.fingerprint != fingerprint(self.embodiment):
            raise DataError(f"{self.path}: the parts do not belong together", "convert the bags again")


def _interventions(path: Path) -> NDArray[np.bool_] | None:
    return np.load(path) if path.exists() else None


def _frames(path: Path, camera: Camera, form: Form) -> Frames:
    pixels = path / "images" / f"{camera.name}.npy"
    if form == "pixels":
        return np.asarray(np.load(pixels, mmap_mode="r"), dtype=np.uint8)
    return EncodedFrames(pixels, camera, form)


def window_rows(
    embodiment: Embodiment, tick: int | Indices, start: int | Indices, stop: int | Indices
) -> tuple[Indices, Indices, NDArray[np.bool_]]:
    """Rows of a set that make the window at `tick` of the episode [start, stop), or many windows (N,) of theirs.

    Gives (..., T) its past, (..., H) its future, and bool (..., H) where that future is in the episode; before and after the
    episode its first and last row are repeated.
    """
    policy = embodiment.policy
    now, first, end = (np.asarray(rows)[..., None] for rows in (tick, start, stop))
    past = np.maximum(now + np.arange(1 - policy.observation_horizon, 1), first)
    future = now + np.arange(1, policy.action_horizon + 1)
    return past, np.minimum(future, end - 1), future < end
