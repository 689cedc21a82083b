"""Poses to joints: the tool gets there, the elbow stays in hand, limits hold, and what cannot be reached is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpt_ros.control.actions import pose_rows
from hpt_ros.control.chunk import Chunk, ChunkRejected
from hpt_ros.control.joint_rows import POSTURE_1_S, JointRows
from hpt_ros.control.kinematics import forward, pose_error
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment import fingerprint, load_embodiment

ARM = load_embodiment("sim_panda_ee")
HOME = np.array(ARM.home_rad)
PERIOD_S = ARM.policy.period_ns * 1e-9
LOW, HIGH = (np.array(x) for x in (TABLES["fer"].position_min, TABLES["fer"].position_max))
ROWS = JointRows(ARM)
Array = NDArray[np.float64]


def rows_of(poses: Array) -> Array:
    return np.hstack([pose_rows(poses), np.full((len(poses), 1), 0.08)])


def due_s(rows: int) -> Array:
    return PERIOD_S * np.arange(1, rows + 1)


def moved(pose: Array, *metres: float) -> Array:
    there = pose.copy()
    there[:3, 3] += metres
    return there


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_straight_line_is_followed_without_a_jump(seed: int) -> None:
    way = np.random.default_rng(seed).uniform(-0.15, 0.15, 3)
    poses = np.stack([moved(forward(HOME), *(share * way)) for share in np.linspace(0, 1, 16)])
    joints = ROWS.solved(rows_of(poses), HOME, due_s(16))[:, :7]
    assert np.abs(pose_error(forward(joints), poses)).max() < 1e-5
    assert np.abs(np.diff(np.vstack([HOME, joints]), axis=0)).max() < 0.1
    assert (joints > LOW).all()
    assert (joints < HIGH).all()


def test_the_elbow_comes_home_and_does_not_wander() -> None:
    elbow = np.array([0.4, 0.1, -0.4, 0.0, 0.3, 0.0, 0.0])
    q = HOME + elbow
    still = np.tile(forward(q), (16, 1, 1))
    path = [q]
    for _ in range(60):  # four seconds of chunks, of each of which one row is executed
        path.append(q := ROWS.solved(rows_of(still), q, due_s(16))[0, :7])
    gaps = np.linalg.norm(np.array(path) - HOME, axis=1)
    assert np.abs(pose_error(forward(q), still[0])).max() < 1e-5, "the tool stays"
    assert (np.diff(gaps) < 1e-6).all()
    assert gaps[-1] < 0.9 * gaps[0], "as near to home as that pose allows"
    assert np.linalg.norm(path[1] - path[0]) < 1.1 * POSTURE_1_S * PERIOD_S * gaps[0], "no faster than its rate"


def test_a_joint_at_its_limit_is_made_up_for_by_the_others() -> None:
    q = HOME.copy()
    q[6] = HIGH[6] - ARM.safety.position_margin_rad
    turned = forward(q + [0.1, 0, 0, 0, 0, 0, 0.1])
    joints = ROWS.solved(rows_of(turned[None]), q, due_s(1))[0, :7]
    assert joints[6] <= HIGH[6] - ARM.safety.position_margin_rad + 1e-12
    assert np.abs(pose_error(forward(joints), turned)).max() < 1e-4


@pytest.mark.parametrize("metres", [(0.6, 0.0, 0.0), (0.0, 0.0, 1.5)])
def test_a_pose_out_of_reach_refuses_the_chunk(metres: tuple[float, ...]) -> None:
    poses = np.stack([forward(HOME), moved(forward(HOME), *metres)])
    with pytest.raises(ChunkRejected, match=r"unreachable: row 1: the arm comes to \d+ mm"):
        ROWS.solved(rows_of(poses), HOME, due_s(2))


@pytest.mark.parametrize("axes", [np.zeros(6), [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0]])
def test_six_numbers_that_are_no_rotation_refuse_the_chunk(axes: Array) -> None:
    rows = rows_of(np.tile(forward(HOME), (3, 1, 1)))
    rows[2, 3:9] = axes
    with pytest.raises(ChunkRejected, match="rotation: row 2"):
        ROWS.solved(rows, HOME, due_s(3))


def test_joint_chunks_pass_as_they_are() -> None:
    chunk = Chunk(0, 1, ARM.command_names, np.zeros((2, 8)), fingerprint(ARM), "teleop:test")
    assert ROWS.of(chunk, 0, HOME) is chunk


def test_poses_are_averaged_as_poses() -> None:
    """Half way between two turns of the tool is half the turn, at the middle of the positions; joints give something else."""
    begin, end = HOME + [0.5, 0.3, 0, 0.2, 0, 0.3, 0.8], HOME - [0.5, 0.2, 0.4, 0, 0.5, 0, 0.6]
    told, weights = np.stack([[begin], [end]]), np.array([[0.5], [0.5]])
    half = pose_error(forward(begin), forward(end)) / 2
    middle = forward(ROWS.mean(told, weights)[0])
    np.testing.assert_allclose(pose_error(forward(begin), middle), half, atol=1e-4)
    joints = JointRows(load_embodiment("sim_panda")).mean(told, weights)[0]
    np.testing.assert_allclose(joints, (begin + end) / 2)
    assert np.abs(pose_error(forward(begin), forward(joints)) - half).max() > 0.01


def test_a_mean_of_one_or_of_equals_is_that_one() -> None:
    q = HOME + 0.1
    np.testing.assert_array_equal(ROWS.mean(q[None, None], np.array([[3.0]]))[0], q)
    np.testing.assert_allclose(ROWS.mean(np.stack([[q], [q]]), np.array([[1.0], [3.0]]))[0], q, atol=1e-6)


def test_a_chunk_keeps_its_times_and_its_gripper() -> None:
    rows = rows_of(np.tile(forward(HOME), (2, 1, 1)))
    rows[:, -1] = [0.08, 0.0]
    chunk = Chunk(5, ARM.policy.period_ns, ARM.chunk_names, rows, fingerprint(ARM), "policy")
    solved = ROWS.of(chunk, 0, HOME)
    assert solved == replace(chunk, rows=solved.rows, names=ARM.command_names)
    assert solved.rows[:, 7].tolist() == [0.08, 0.0]
