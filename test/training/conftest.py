"""Demonstrations in memory that can be learnt: the arm goes where the bright square in the front view is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpt_ros.demos import Episode as StoredEpisode
from hpt_ros.demos.store import FORMAT_VERSION, INDEX
from hpt_ros.embodiment import Embodiment, embodiment_to, fingerprint, load_embodiment
from hpt_ros.model import PolicyConfig
from hpt_ros.training import FinetuneConfig
from hpt_ros.training.config import OptimizerConfig, ValidationConfig

TICKS = 12  # of an episode


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests share the machine; a second thread would mostly wait at barriers."""
    torch.set_num_threads(1)


class Episode(NamedTuple):
    start: int
    stop: int

    score: float = 1.0
    task: str = "reach"
    instruction: str = ""

    @property
    def source(self) -> str:
        return f"episode_{self.start}"


class Window(NamedTuple):
    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    depth: dict[str, NDArray[np.uint16]]
    action: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class MemoryDemos:
    """The attributes of `hpt_ros.demos.Demos` that training reads."""

    path: Path
    embodiment: Embodiment
    episodes: tuple[Episode, ...]
    state: NDArray[np.float32]
    command: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    intervention: NDArray[np.bool_] | None = None

    def decoded(self) -> MemoryDemos:
        return self

    def window(self, i: int) -> Window:
        stop = next(e.stop for e in self.episodes if e.start <= i < e.stop)
        future = np.arange(i + 1, i + 1 + self.embodiment.policy.action_horizon)
        return Window(
            state=self.state[i : i + 1],
            images={name: pixels[i : i + 1] for name, pixels in self.images.items()},
            depth={},
            action=self.command[np.minimum(future, stop - 1)],
            valid=future < stop,
        )


@pytest.fixture
def embodiment() -> Embodiment:
    """sim_panda with 16 x 16 pixels and chunks of 4 rows."""
    full = load_embodiment("sim_panda")
    return replace(
        full,
        cameras=tuple(replace(camera, size_px=(16, 16)) for camera in full.cameras),
        policy=replace(full.policy, action_horizon=4, execute_rows=4),
    )


@pytest.fixture
def demos(embodiment: Embodiment) -> MemoryDemos:
    """Ten episodes of 12 ticks."""
    rng = np.random.default_rng(0)
    episodes = tuple(Episode(k * TICKS, (k + 1) * TICKS) for k in range(10))
    column = np.repeat(rng.integers(2, 14, len(episodes)), TICKS)
    front = np.zeros((len(column), 16, 16, 3), np.uint8)
    for tick, x in enumerate(column):
        front[tick, 6:10, x - 2 : x + 2] = 255
    progress = np.tile(np.linspace(0, 1, TICKS, dtype=np.float32), len(episodes))[:, None]
    width = len(embodiment.action_names)
    command = np.asarray((column[:, None] / 16 - 0.5) * progress * np.ones(width), np.float32)
    return MemoryDemos(
        path=Path("memory"),
        embodiment=embodiment,
        episodes=episodes,
        state=command + rng.normal(0, 1e-3, command.shape).astype(np.float32),
        command=command,
        images={"front": front, "wrist": np.zeros_like(front)},
    )


@pytest.fixture
def config() -> FinetuneConfig:
    """Thirty small steps."""
    return FinetuneConfig(
        policy=PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4),
        optimizer=OptimizerConfig(lr=1e-3, warmup_steps=5, weight_decay=1e-4, grad_clip=1.0),
        steps=30,
        batch_size=16,
        validation=ValidationConfig(fraction=0.2, every_steps=10),
    )


@pytest.fixture
def folder(demos: MemoryDemos, tmp_path: Path) -> Path:
    """The demonstrations in memory, as `convert` would write them."""
    folder = tmp_path / "demos"
    (folder / "images").mkdir(parents=True)
    np.save(folder / "state.npy", demos.state)
    np.save(folder / "command.npy", demos.command)
    np.save(folder / "tick_ns.npy", np.arange(len(demos.state)))
    for name, pixels in demos.images.items():
        np.save(folder / "images" / f"{name}.npy", pixels)
    episodes = [asdict(StoredEpisode(e.start, e.stop, 1.0, "reach", "", "", "", "", e.source)) for e in demos.episodes]
    index = {
        "format": FORMAT_VERSION,
        "embodiment": embodiment_to(demos.embodiment),
        "fingerprint": fingerprint(demos.embodiment),
        "episodes": episodes,
        "images": {name: {"form": "pixels"} for name in demos.images},
        "statistics": {},
        "sync": {},
    }
    (folder / INDEX).write_text(json.dumps(index))
    return folder
