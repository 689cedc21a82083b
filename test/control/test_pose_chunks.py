"""A policy that acts in poses of the tool, through the commander: it gets there, by every strategy, and is refused when it must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from rig import HOME, MS, H, Rig

from hpt_ros.control.actions import action_space, pose_rows
from hpt_ros.control.chunk import Chunk
from hpt_ros.control.kinematics import forward, pose_error
from hpt_ros.control.state_machine import State
from hpt_ros.embodiment import fingerprint, load_embodiment
from hpt_ros.embodiment.columns import KINDS, ActionKind
from hpt_ros.embodiment.schema import Action
from hpt_ros.sim.expert import plan, sight

ARM = load_embodiment("sim_panda_ee")
STRATEGIES = ("receding_horizon", "blend", "temporal_ensemble")
GOAL = forward(HOME + [0.2, 0.1, -0.1, 0.1, 0.1, 0.1, 0.3])


def engaged(strategy: str = "receding_horizon") -> Rig:
    rig = Rig(robot=replace(ARM, policy=replace(ARM.policy, strategy=strategy)))
    rig.engage()
    return rig


def poses(pose: NDArray[np.float64], gripper: float = 0.08) -> NDArray[np.float64]:
    return np.tile([*pose_rows(pose), gripper], (H, 1))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_tool_goes_to_the_pose_and_the_label_is_in_joints(strategy: str) -> None:
    rig = engaged(strategy)
    for i in range(200):
        if i % 7 == 0:
            assert rig.offer(poses(GOAL, gripper=0.0))
        rig.tick()
    assert rig.state is State.RUNNING
    assert np.abs(pose_error(forward(rig.arm.sample(rig.now)[0]), GOAL)).max() < 1e-3
    label = rig.outputs[-1].label
    assert label.source == "policy"
    assert len(label.position) == len(ARM.command_names)
    assert label.position[7] == 0.0


def test_chunk_after_chunk_is_one_smooth_motion() -> None:
    """A bent way, of which each chunk is solved from where the arm has come to: the limiter has nothing to smooth."""
    period_s = ARM.policy.period_ns * 1e-9
    joints = HOME + [0.4, 0.1, -0.4, 0.0, 0.3, 0.0, 0.0]  # with the elbow far from home
    rig = Rig(joints, ARM)
    rig.engage()
    for i in range(350):
        if i % 7 == 0:
            angle = np.maximum((i - 70) * 0.01 + period_s * np.arange(1, H + 1), 0) * 1.5
            rows = poses(forward(joints))
            rows[:, 0] += 0.1 * (1 - np.cos(angle))
            rows[:, 1] -= 0.1 * (1 - np.cos(1.5 * angle))
            assert rig.offer(rows)
        rig.tick()
        if i == 50:  # the elbow is on its way
            before = rig.commander.limited_ticks
    assert rig.commander.limited_ticks == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_demonstrated_motion_stays_within_the_limits_in_every_kind(kind: ActionKind) -> None:
    """Encoded as a label and decoded as the policy's answer, the expert's motion still asks for nothing too fast."""
    robot = replace(load_embodiment("sim_panda"), action=Action(kind))
    rig, space, period_s = Rig(HOME, robot), action_space(robot), robot.policy.period_ns * 1e-9
    motion = plan("reach", HOME, sight([0.5, 0.1, 0.02], [1, 0, 0, 0], [0.55, -0.12, 0.1]))
    rig.engage()
    for i in range(int(motion.duration_s * 100) + 150):
        if i % 7 == 0:
            state = np.append(rig.arm.sample(rig.now)[0], 0.08)
            rows = motion.rows((i - 100) * 0.01, period_s, H)
            assert rig.offer(space.decode(space.encode(rows, state), state), age_ms=0)
        rig.tick()
    assert rig.state is State.RUNNING
    assert rig.commander.limited_ticks < 0.02 * len(rig.outputs), rig.commander.limit_ticks
    reached = pose_error(forward(rig.arm.sample(rig.now)[0]), forward(motion.targets[-1, :7]))
    assert np.abs(reached).max() < 1e-3


def test_a_person_commands_joints_whatever_the_policys_kind() -> None:
    rig = engaged()
    for i in range(100):
        if i % 7 == 0:
            rig.offer(poses(GOAL))
        rig.tick()
    for i in range(200):
        if i % 7 == 0:
            assert rig.chunk(HOME, "teleop:pad")
        rig.tick()
    np.testing.assert_allclose(rig.arm.sample(rig.now)[0], HOME, atol=1e-6)


def test_a_policy_of_another_kind_is_refused_by_its_names() -> None:
    rig = engaged()
    rows = np.tile([*HOME, 0.08], (H, 1))
    chunk = Chunk(rig.now - MS, ARM.policy.period_ns, ARM.command_names, rows, fingerprint(ARM), "policy")
    assert not rig.commander.on_chunk(chunk, rig.now)
    assert rig.commander.rejections["names"] == 1
    assert "tcp_x" in rig.commander.last_rejection


def test_what_cannot_be_reached_does_not_move_the_arm() -> None:
    rig = engaged()
    far = GOAL.copy()
    far[2, 3] += 2.0
    assert not rig.offer(poses(far))
    crooked = poses(GOAL)
    crooked[3, 3:9] = 0.5
    assert not rig.offer(crooked)
    assert dict(rig.commander.rejections) == {"unreachable": 1, "rotation": 1}
    rig.tick(20)
    np.testing.assert_allclose(rig.arm.sample(rig.now)[0], HOME, atol=1e-9)
    assert rig.state is State.ENGAGING


def test_the_start_guard_holds_for_poses() -> None:
    rig = engaged()
    assert not rig.offer(poses(forward(HOME + [1.2, 0, 0, 0, 0, 0, 0])))
    assert rig.state is State.IDLE
    assert rig.commander.rejections["mismatch"] == 1
