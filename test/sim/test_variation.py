"""Variations change what is seen and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.errors import ConfigError
from hpt_ros.sim.offline import OfflineScene
from hpt_ros.sim.variation import VARIATIONS
from hpt_ros.sim.world import World


def picture(variation: str) -> dict[str, np.ndarray]:
    with OfflineScene("reach", size_px=(48, 64), variation=variation) as scene:
        scene.world.reset(seed=3)
        return next(scene.run_expert(3)).images


@pytest.fixture(scope="module")
def usual() -> dict[str, np.ndarray]:
    return picture("none")


def test_light_scales_what_is_seen(usual):
    assert picture("dim")["front"].mean() < 0.8 * usual["front"].mean()
    assert picture("bright")["front"].mean() > 1.05 * usual["front"].mean()


def test_only_the_front_camera_moves(usual):
    moved = picture("camera")
    assert np.abs(moved["front"].astype(int) - usual["front"]).mean() > 2
    np.testing.assert_array_equal(moved["wrist"], usual["wrist"])


def test_the_cube_is_of_another_colour(usual):
    red, blue = (image["wrist"].reshape(-1, 3).astype(int) for image in (usual, picture("cube")))
    changed = np.abs(red - blue).sum(axis=1) > 60
    assert 0 < changed.mean() < 0.2
    assert (blue[changed, 2] > blue[changed, 0]).mean() > 0.9


def test_physics_stay():
    worlds = [World("lift", 4, variation=name) for name in VARIATIONS]
    for world in worlds:
        world.set_arm_target(world.q + 0.05)
        for _ in range(50):
            world.step()
    assert len({world.q.tobytes() + world.cube_m.tobytes() for world in worlds}) == 1


def test_an_unknown_one_is_refused():
    with pytest.raises(ConfigError, match="dim, bright"):
        World(variation="foggy")
