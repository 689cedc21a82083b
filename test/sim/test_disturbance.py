"""A pushed arm: it strays while it moves in the open, comes back, and its commands stay the demonstrator's own."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.control.kinematics import forward
from hpt_ros.sim.disturbance import DISTURBANCE_RAD, Disturbance
from hpt_ros.sim.offline import OfflineScene
from hpt_ros.sim.world import World

STEP_S = 0.001


def offsets(disturbance: Disturbance, seconds: float, moving: bool = True, height_m: float = 0.5) -> np.ndarray:
    return np.array([disturbance.step(STEP_S, moving, height_m) for _ in range(round(seconds / STEP_S))])


def test_it_strays_smoothly_and_as_far_as_it_says() -> None:
    found = offsets(Disturbance(1.0, 7, 0), 60.0)
    assert 0.5 * DISTURBANCE_RAD < found.std() < DISTURBANCE_RAD
    assert np.abs(np.diff(found, axis=0)).max() < 0.5 * STEP_S, "no joint is moved by more than 0.5 rad/s"
    np.testing.assert_allclose(found[0], 0.0, atol=1e-6)
    np.testing.assert_array_equal(found, offsets(Disturbance(1.0, 7, 0), 60.0))
    assert (found != offsets(Disturbance(1.0, 7, 1), 60.0)).any()


@pytest.mark.parametrize("calm", [{"moving": False}, {"height_m": 0.07}])
def test_it_fades_where_the_arm_is_to_be_left_alone(calm) -> None:
    disturbance = Disturbance(1.0, 7, 0)
    assert offsets(disturbance, 1.0)[-1].any()
    found = offsets(disturbance, 1.0, **calm)
    assert np.abs(np.diff(found, axis=0)).max() < 1.0 * STEP_S, "it fades; it does not jump"
    assert not found[-1].any()


def test_an_arm_that_rests_or_closes_its_hand_is_not_pushed() -> None:
    world = World("lift", disturbance=1.0)
    start, target = world.q, world.q + 0.2
    strayed = {}
    for what, width_m, moves in (("rests", 0.08, False), ("closes", 0.0, True), ("moves", 0.08, True)):
        world.reset("lift", seed=1)
        world.set_gripper_target(width_m)
        start = world.q
        for share in np.arange(700) / 1000:
            if moves:
                world.set_arm_target(start + share * (target - start), (target - start))
            world.step()
        strayed[what] = float(np.abs(world.q - (start + moves * share * (target - start))).max())
    assert strayed["rests"] < 1e-3
    assert strayed["closes"] < 2e-3
    assert strayed["moves"] > 5e-3


@pytest.mark.parametrize("task", ["lift", "push"])
def test_a_disturbed_expert_succeeds_with_the_commands_of_an_undisturbed_one(task: str) -> None:
    """The expert pushes with a hand that is shut, which is disturbed as an open one is; one that holds the cube is not."""
    targets, states = [], []
    for disturbance in (0.0, 1.0):
        with OfflineScene(task, images=False, disturbance=disturbance) as scene:
            samples = list(scene.run_expert(5))
            assert scene.world.success
        targets.append(np.array([sample.target for sample in samples]))
        states.append(np.array([forward(sample.state[:7])[:3, 3] for sample in samples]))
    both = min(map(len, targets))
    np.testing.assert_array_equal(targets[0][:both], targets[1][:both])
    strayed_m = np.linalg.norm(states[0][:both] - states[1][:both], axis=1)
    assert 0.005 < strayed_m.max() < 0.12
    shut = targets[0][:both, 7] == 0
    assert strayed_m[-1] < 1e-3 if task == "lift" else strayed_m[shut].max() > 0.005
