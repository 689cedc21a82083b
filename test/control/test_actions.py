"""Kinds of actions: what a label says, decoded and solved again, is the command that was recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpt_ros.control.actions import action_space, least_ranges, pose_rows, poses_of
from hpt_ros.control.joint_rows import JointRows
from hpt_ros.control.kinematics import forward, pose_error
from hpt_ros.control.limits import TABLES
from hpt_ros.control.rotation import matrix_of_vector
from hpt_ros.embodiment import Embodiment, fingerprint, load_embodiment
from hpt_ros.embodiment.columns import KINDS, ActionKind
from hpt_ros.embodiment.schema import Action

SIM = load_embodiment("sim_panda")
HOME = np.array(SIM.home_rad)
LIMITS = TABLES["fer"]
PERIOD_S = SIM.policy.period_ns * 1e-9
DUE_S = PERIOD_S * np.arange(1, SIM.policy.action_horizon + 1)
JOINT_KINDS: tuple[ActionKind, ...] = ("joint_position", "joint_delta")
POSE_KINDS: tuple[ActionKind, ...] = ("ee_pose", "ee_delta")
Array = NDArray[np.float64]


def robot(kind: ActionKind) -> Embodiment:
    return replace(SIM, action=Action(kind))


def motion(seed: int, rows: int = 16, speed_rad_s: float = 0.4) -> tuple[Array, Array]:
    """A state (8,) somewhere in the middle of the limits, and commands (H, 8) that leave from near it."""
    rng = np.random.default_rng(seed)
    low, high = np.array(LIMITS.position_min), np.array(LIMITS.position_max)
    start = np.clip(HOME + rng.uniform(-0.5, 0.5, 7), low + 0.3, high - 0.3)
    way = rng.uniform(-1, 1, 7) * speed_rad_s * PERIOD_S
    joints = np.clip(start + rng.normal(0, 0.01, 7) + way * np.arange(1, rows + 1)[:, None], low + 0.1, high - 0.1)
    widths = np.where(np.arange(rows) < rows // 2, 0.08, 0.0)[:, None]
    return np.append(start, 0.06), np.hstack([joints, widths])


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_label_decodes_to_the_command_it_was_made_of(kind: ActionKind, seed: int) -> None:
    state, commands = motion(seed)
    space = action_space(robot(kind))
    label = space.encode(commands, state)
    assert label.dtype == np.float32
    assert label.shape == (len(commands), len(robot(kind).action_names))
    sent = space.decode(label, state)
    assert sent.shape == (len(commands), len(robot(kind).chunk_names))
    np.testing.assert_array_equal(sent[:, -1], commands[:, -1].astype(np.float32))
    np.testing.assert_allclose(space.undecode(sent, state), label, atol=1e-5)
    if kind in JOINT_KINDS:
        np.testing.assert_allclose(sent, commands, atol=1e-6)
        return
    arm = JointRows(robot(kind)).solved(sent.astype(float), state[:7], DUE_S)
    missing = pose_error(forward(arm[:, :7]), forward(commands[:, :7]))
    assert np.abs(missing).max() < 1e-5, "the tool goes where the commands would have brought it [m, rad]"
    np.testing.assert_array_equal(arm[:, 7], sent[:, -1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_the_tool_is_the_same_joints_where_the_elbow_is_at_home(kind: ActionKind) -> None:
    """With the elbow as at home there is one answer to a pose next to it: the commanded joints themselves."""
    rng = np.random.default_rng(1)
    q = HOME + np.linspace(0, 1, 16)[:, None] * rng.uniform(-0.1, 0.1, 7)
    poses = np.hstack([pose_rows(forward(q)), np.full((16, 1), 0.04)])
    joints = JointRows(robot("ee_pose")).solved(poses, HOME, DUE_S)[:, :7]  # the elbow was free to stay
    assert np.abs(joints - q).max() < 0.1
    commands = np.hstack([joints, np.full((16, 1), 0.04)])
    space = action_space(robot(kind))
    state = np.append(HOME, 0.04)
    sent = space.decode(space.encode(commands, state), state).astype(float)
    again = sent if kind in JOINT_KINDS else JointRows(robot(kind)).solved(sent, HOME, DUE_S)
    np.testing.assert_allclose(again[:, :7], joints, atol=1e-4)


def test_differences_are_all_from_the_observations_own_state() -> None:
    state, commands = motion(3)
    joints = action_space(robot("joint_delta")).encode(commands, state)
    np.testing.assert_allclose(joints[:, :7], commands[:, :7] - state[:7], atol=1e-6)
    tool = action_space(robot("ee_delta")).encode(commands, state)
    begin = forward(state[:7])
    for row, target in zip(tool.astype(float), forward(commands[:, :7]), strict=True):
        np.testing.assert_allclose(begin[:3, 3] + row[:3], target[:3, 3], atol=1e-6)
        np.testing.assert_allclose(matrix_of_vector(row[3:6]) @ begin[:3, :3], target[:3, :3], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_many_observations_are_the_labels_of_each(kind: ActionKind) -> None:
    states, commands = (np.stack(part) for part in zip(*(motion(seed) for seed in range(5)), strict=True))
    space = action_space(robot(kind))
    together = space.encode(commands, states)
    for i, (state, chunk) in enumerate(zip(states, commands, strict=True)):
        np.testing.assert_allclose(together[i], space.encode(chunk, state), atol=1e-6)
    back = space.decode(together, states)
    np.testing.assert_allclose(back[2], space.decode(together[2], states[2]), atol=1e-6)


def test_names_units_and_fingerprints_tell_the_kinds_apart() -> None:
    names = {kind: robot(kind).action_names for kind in KINDS}
    assert names["joint_delta"][:2] == ("panda_joint1_delta", "panda_joint2_delta")
    assert names["ee_pose"][:4] == ("tcp_x", "tcp_y", "tcp_z", "tcp_xaxis_x")
    assert names["ee_delta"] == ("tcp_dx", "tcp_dy", "tcp_dz", "tcp_rx", "tcp_ry", "tcp_rz", "gripper_width")
    assert [c.unit for c in robot("ee_pose").action_columns] == ["m"] * 3 + ["1"] * 6 + ["m"]
    assert len({fingerprint(robot(kind)) for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert robot(kind).command_names == SIM.action_names, "commands are joints in every kind"
    assert robot("ee_delta").chunk_names == names["ee_pose"]
    assert robot("joint_delta").chunk_names == names["joint_position"]


def test_six_numbers_become_the_nearest_rotation() -> None:
    rows = pose_rows(forward(HOME))[None].repeat(2, axis=0)
    rows[1, 3:] = 3 * rows[1, 3:] + [0, 0, 0, 0.3, 0, 0]  # neither unit length nor at a right angle
    poses = poses_of(rows)
    np.testing.assert_allclose(poses[0], forward(HOME), atol=1e-12)
    rotation = poses[1, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    rows[1, 6:9] = rows[1, 3:6]
    assert not np.isfinite(poses_of(rows)[1]).all(), "two parallel axes are no rotation"


def test_what_hardly_varies_is_not_stretched() -> None:
    ranges = dict(zip(robot("ee_pose").action_names, least_ranges(robot("ee_pose")), strict=True))
    assert (ranges["tcp_x"], ranges["tcp_xaxis_x"], ranges["gripper_width"]) == (0.01, 2.0, 0.01)
    assert not least_ranges(robot("joint_delta")).any()
