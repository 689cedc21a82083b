"""Starts are seeded, inside their ranges, and every task can be named."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.errors import ConfigError
from hpt_ros.sim.tasks import TASKS, Task, View, task_named


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_same_seed_same_start(task: Task) -> None:
    first, again, other = task.start(7), task.start(7), task.start(8)
    assert first.cube_m.tobytes() == again.cube_m.tobytes()
    assert first.joint_offset_rad.tobytes() == again.joint_offset_rad.tobytes()
    assert first.cube_yaw_rad == again.cube_yaw_rad
    assert first.cube_m.tobytes() != other.cube_m.tobytes()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_starts_fill_their_ranges(task: Task) -> None:
    starts = [task.start(seed) for seed in range(300)]
    cubes = np.array([start.cube_m for start in starts])
    for axis, (low, high) in enumerate([task.cube_x_m, task.cube_y_m]):
        assert low <= cubes[:, axis].min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < cubes[:, axis].max() <= high
    assert max(abs(start.cube_yaw_rad) for start in starts) <= np.pi / 4
    assert max(np.abs(start.joint_offset_rad).max() for start in starts) <= 0.05


def test_push_never_starts_in_its_goal() -> None:
    task = TASKS["push"]
    for seed in range(100):
        start = task.start(seed)
        assert not task.achieved(View(np.zeros(3), start.cube_m, start.mark_m))


def test_reach_is_measured_in_three_dimensions() -> None:
    cube = np.array([0.5, 0.0, 0.02])
    reach = TASKS["reach"]
    assert reach.achieved(View(cube + [0, 0, 0.06 + 0.019], cube, None))
    assert not reach.achieved(View(cube + [0.015, 0.015, 0.06], cube, None))


def test_unknown_task_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="reach, lift, push"):
        task_named("juggle")
