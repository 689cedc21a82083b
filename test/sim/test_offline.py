"""Demonstrations and trials without ROS."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.sim.offline import OfflineScene, Policy


def replay(scene: OfflineScene, seed: int) -> Policy:
    """A policy that has seen the demonstration of this very start."""
    targets = np.array([sample.target for sample in scene.run_expert(seed)])
    executed = scene.embodiment.policy.execute_rows
    calls = iter(range(0, 10**6, executed))

    def act(state: np.ndarray, images: dict[str, np.ndarray]) -> np.ndarray:
        due = np.clip(next(calls) + 1 + np.arange(16), 0, len(targets) - 1)
        return targets[due]

    return act


def test_labels_replayed_as_chunks_succeed() -> None:
    with OfflineScene("lift", images=False) as scene:
        outcome = scene.rollout(replay(scene, 3), 3)
        assert outcome.success
        assert outcome.elapsed_s < 8.0


def test_standing_still_fails_at_the_time_limit() -> None:
    with OfflineScene("reach", images=False) as scene:
        outcome = scene.rollout(lambda state, images: np.tile(state, (16, 1)), 0)
        assert not outcome.success
        assert outcome.elapsed_s == pytest.approx(scene.world.task.time_limit_s, abs=0.5)
        assert outcome.distance_m > 0.2


def test_samples_carry_every_camera_of_the_embodiment() -> None:
    with OfflineScene("reach", size_px=(48, 64)) as scene:
        sample = next(scene.run_expert(0))
        assert {name: image.shape for name, image in sample.images.items()} == {
            "front": (48, 64, 3),
            "wrist": (48, 64, 3),
        }
        assert sample.state.dtype == sample.target.dtype == np.float32
        assert sample.state.shape == sample.target.shape == (8,)
