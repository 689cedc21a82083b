"""Demonstration sets on disk of two robots with different cameras, state and chunks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from two_workers import make_learner

from hpt_ros.configuration import to_mapping
from hpt_ros.demos import Episode
from hpt_ros.demos.store import FORMAT_VERSION, INDEX
from hpt_ros.embodiment import Embodiment, embodiment_to, fingerprint
from hpt_ros.model import PolicyConfig
from hpt_ros.model.multi_policy import MultiPolicy
from hpt_ros.training.config import OptimizerConfig, ValidationConfig
from hpt_ros.training.pretraining import PretrainConfig
from hpt_ros.training.pretraining.learner import PretrainLearner
from hpt_ros.training.pretraining.workers import Workers

Store = Callable[..., Path]


@pytest.fixture
def one_camera(embodiment: Embodiment) -> Embodiment:
    """Another robot: no wrist camera, no gripper, shorter chunks."""
    return replace(
        embodiment,
        name="bare_arm",
        cameras=embodiment.cameras[:1],
        gripper=None,
        command=replace(embodiment.command, gripper_backend="none"),
        policy=replace(embodiment.policy, action_horizon=2, execute_rows=2),
    )


@pytest.fixture
def store(demos: Any, tmp_path: Path) -> Store:
    """The first so many episodes in memory, as `convert` would write them for one of the robots."""

    def store(name: str, embodiment: Embodiment, episodes: int = 10) -> Path:
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        ticks = demos.episodes[episodes - 1].stop if episodes else 0
        width = len(embodiment.state_names)
        np.save(folder / "state.npy", demos.state[:ticks, :width])
        np.save(folder / "command.npy", demos.command[:ticks, :width])
        np.save(folder / "tick_ns.npy", np.arange(ticks))
        for camera in embodiment.cameras:
            np.save(folder / "images" / f"{camera.name}.npy", demos.images[camera.name][:ticks])
        rows = [Episode(e.start, e.stop, 1.0, "reach", "", "", "", "", "") for e in demos.episodes[:episodes]]
        index = {
            "format": FORMAT_VERSION,
            "embodiment": embodiment_to(embodiment),
            "fingerprint": fingerprint(embodiment),
            "episodes": [asdict(row) for row in rows],
            "images": {camera.name: {"form": "pixels"} for camera in embodiment.cameras},
            "statistics": {},
            "sync": {},
        }
        (folder / INDEX).write_text(json.dumps(index))
        return folder

    return store


@pytest.fixture
def settings(store: Store, embodiment: Embodiment, one_camera: Embodiment) -> PretrainConfig:
    """Twenty steps of four draws out of a large set, a small one, and one of another robot."""
    panda = store("large", embodiment), store("small", embodiment, 3)
    return PretrainConfig(
        policy=PolicyConfig(embed_dim=32, num_blocks=2, num_heads=4, image_tokens=4, state_tokens=4),
        optimizer=OptimizerConfig(lr=1e-3, warmup_steps=5, weight_decay=0.05, grad_clip=1.0),
        steps=20,
        batch_size=8,
        draws=4,
        domains={"panda": tuple(map(str, panda)), "bare_arm": (str(store("bare", one_camera, 5)),)},
        validation=ValidationConfig(fraction=0.2, every_steps=10),
    )


@pytest.fixture
def settings_file(settings: PretrainConfig, tmp_path: Path) -> Callable[..., Path]:
    """The settings as a file that the command reads."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(json.dumps(to_mapping(replace(settings, **changes))))  # JSON is YAML
        return path

    return write


@pytest.fixture
def learner(settings: PretrainConfig) -> Callable[..., tuple[PretrainLearner, MultiPolicy]]:
    """A learner on one process, with changed settings, and what it trains."""
    return lambda **changes: make_learner(replace(settings, **changes), Workers())
