"""Physics: targets are followed, the same commands give the same bits, success is latched."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.sim.tasks import READY_RAD
from hpt_ros.sim.world import SimulationError, World


def run(world: World, seconds: float) -> None:
    for _ in range(round(seconds * 1e9 / world.timestep_ns)):
        world.step()


def test_holds_its_start_against_gravity() -> None:
    world = World("reach", seed=3)
    start = world.q
    run(world, 0.5)
    np.testing.assert_allclose(world.q, start, atol=1e-4)
    assert world.cube_m[2] == pytest.approx(0.02, abs=5e-4)


def test_follows_a_target_within_the_torque_limits() -> None:
    world = World("reach")
    target = np.asarray(READY_RAD) + 0.2
    world.set_arm_target(target)
    torques = []
    for _ in range(1500):
        world.step()
        torques.append(np.abs(world.torque))
    np.testing.assert_allclose(world.q, target, atol=2e-3)
    assert np.all(np.max(torques, axis=0) <= [87, 87, 87, 87, 12, 12, 12])


def test_same_seed_and_commands_give_the_same_bits() -> None:
    def episode(world: World) -> bytes:
        world.reset("lift", seed=5)
        world.set_arm_target(np.asarray(READY_RAD) - 0.1)
        world.set_gripper_target(0.01)
        run(world, 0.3)
        return world.q.tobytes() + world.cube_m.tobytes() + world.fingers_m.tobytes()

    used = World("push", seed=1)
    run(used, 0.2)
    assert episode(used) == episode(World())


def test_reset_forgets_targets_and_success() -> None:
    world = World("reach", seed=0)
    world.set_arm_target(np.zeros(7))
    world.set_gripper_target(0.0)
    run(world, 0.2)
    world.success = True
    world.reset(seed=2)
    assert (world.task.name, world.seed, world.episode, world.success) == ("reach", 2, 2, False)
    assert world.elapsed_s == 0.0
    start = world.q
    run(world, 0.2)
    np.testing.assert_allclose(world.q, start, atol=1e-4)
    assert world.state[7] == pytest.approx(0.08, abs=1e-3)


def test_gripper_moves_at_its_own_speed() -> None:
    world = World()
    world.set_gripper_target(0.02)
    run(world, 0.3)
    assert 0.04 < world.state[7] < 0.06
    run(world, 0.6)
    assert world.state[7] == pytest.approx(0.02, abs=1e-3)


def test_success_needs_the_goal_to_be_held() -> None:
    world = World("lift", seed=0)
    world.task.__class__.height_m, kept = 0.0, world.task.__class__.height_m  # the cube's centre is above that
    try:
        run(world, 0.45)
        assert not world.success
        run(world, 0.1)
        assert world.success
    finally:
        world.task.__class__.height_m = kept
    run(world, 0.1)
    assert world.success  # latched


@pytest.mark.filterwarnings("ignore")
def test_divergence_is_an_error() -> None:
    world = World()
    world.set_arm_target(np.full(7, np.nan))
    with pytest.raises(SimulationError):
        run(world, 0.1)
