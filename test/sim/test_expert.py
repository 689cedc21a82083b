"""The scripted expert: smooth, inside the limits, deterministic, and it does the task."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.control.kinematics import forward
from hpt_ros.control.limits import TABLES
from hpt_ros.sim.expert import Plan, plan, sight
from hpt_ros.sim.offline import OfflineScene
from hpt_ros.sim.tasks import MAX_WIDTH_M, TASKS
from hpt_ros.sim.world import World


def plan_for(task: str, seed: int) -> tuple[World, Plan]:
    world = World(task, seed)
    return world, plan(task, world.q, sight(world.cube_m, world.cube_wxyz, world.goal_m))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", [0, 11])
def test_plan_starts_at_rest_and_keeps_within_forty_percent_of_the_limits(task: str, seed: int) -> None:
    world, motion = plan_for(task, seed)
    table, step = TABLES["fer"], motion.times_s[1]
    np.testing.assert_array_equal(motion.targets[0, :7], world.q)
    velocity = np.gradient(motion.targets[:, :7], step, axis=0)
    acceleration = np.gradient(velocity, step, axis=0)
    assert np.all(np.abs(velocity) <= 0.4 * np.asarray(table.velocity))
    assert np.all(np.abs(acceleration) <= 0.4 * np.asarray(table.acceleration))
    np.testing.assert_allclose(velocity[[0, -1]], 0.0, atol=0.02)
    assert np.all(motion.targets[:, :7] > np.asarray(table.position_min) + 0.03)
    assert np.all(motion.targets[:, :7] < np.asarray(table.position_max) - 0.03)


def test_same_sight_same_path() -> None:
    first, again = plan_for("lift", 4)[1], plan_for("lift", 4)[1]
    assert first.targets.tobytes() == again.targets.tobytes()


def test_reach_ends_above_the_cube_with_the_tool_down() -> None:
    world, motion = plan_for("reach", 2)
    pose = forward(motion.targets[-1, :7])
    np.testing.assert_allclose(pose[:3, 3], world.cube_m + [0, 0, 0.06], atol=1e-3)
    np.testing.assert_allclose(pose[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-2)


def test_lift_aligns_the_fingers_with_the_cube() -> None:
    world, motion = plan_for("lift", 6)
    hand_y = forward(motion.targets[-1, :7])[:3, 1]
    yaw = sight(world.cube_m, world.cube_wxyz, world.goal_m).cube_yaw_rad
    faces = [np.array([np.cos(yaw + k), np.sin(yaw + k), 0.0]) for k in (0.0, np.pi / 2)]
    assert max(abs(hand_y @ face) for face in faces) > 0.999


def test_chunk_rows_are_due_one_period_apart_and_the_last_target_is_held() -> None:
    _, motion = plan_for("lift", 0)
    rows = motion.rows(0.5, 0.1, 4)
    np.testing.assert_array_equal(rows, motion.sample([0.6, 0.7, 0.8, 0.9]))
    np.testing.assert_array_equal(motion.rows(100.0, 0.1, 2), np.tile(motion.targets[-1], (2, 1)))


def test_gripper_width_steps_between_open_and_closed() -> None:
    _, motion = plan_for("lift", 0)
    widths = motion.sample(np.linspace(0, motion.duration_s, 1000))[:, 7]
    assert set(widths) == {MAX_WIDTH_M, 0.0}


@pytest.mark.parametrize("task", TASKS)
def test_expert_succeeds(task: str) -> None:
    with OfflineScene(task, images=False) as scene:
        for seed in (0, 1, 2):
            samples = list(scene.run_expert(seed))
            assert scene.world.success, f"seed {seed}"
            assert samples[0].time_s == 0.0
            assert samples[-1].time_s < TASKS[task].time_limit_s
            np.testing.assert_allclose(samples[0].target[:7], samples[0].state[:7], atol=1e-6)
