"""The quadratic program: what is asked for is done where it may be, and nothing else ever is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.control.capsules import SelfDistance
from hpt_ros.control.kinematics import forward, jacobian, joint_frames, pose_error
from hpt_ros.embodiment import load_embodiment
from hpt_ros.teleop.constraints import CLEARANCE_M, Constraints
from hpt_ros.teleop.ik import DifferentialIK, Motion

PANDA = load_embodiment("sim_panda")
HOME = np.array(PANDA.home_rad)
LIMITS = Constraints(PANDA.safety)
IK = DifferentialIK(LIMITS)
STEP_S = 0.033
BOX = np.array([PANDA.safety.workspace.x_m, PANDA.safety.workspace.y_m, PANDA.safety.workspace.z_m])
deflections = st.tuples(*[st.floats(-1, 1)] * 6)


def run(
    twist: np.ndarray, steps: int, q: np.ndarray = HOME, ik: DifferentialIK = IK
) -> tuple[np.ndarray, np.ndarray, set[str]]:
    """Postures (N, 7), joint velocities (N, 7) and the limits met while a base-frame twist is held."""
    dq, path, speeds, limits = np.zeros(7), [], [], set()
    for _ in range(steps):
        step = ik.solve(q, Motion(twist=twist, posture=HOME - q), dq, STEP_S)
        q, dq = q + STEP_S * (dq + step.dq) / 2, step.dq
        path.append(q)
        speeds.append(dq)
        limits |= set(step.limited_by)
    return np.array(path), np.array(speeds), limits


@pytest.mark.parametrize("axis", range(6))
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_free_twist_is_met(axis: int, sign: int) -> None:
    twist = np.zeros(6)
    twist[axis] = sign * (0.05 if axis < 3 else 0.2)
    dq = IK.solve(HOME, Motion(twist=twist), np.zeros(7), 1.0).dq
    np.testing.assert_allclose(jacobian(HOME) @ dq, twist, atol=0.002)


@given(st.lists(deflections, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_whatever_is_asked_for_stays_inside_every_limit(asked: list[tuple[float, ...]]) -> None:
    full = np.repeat([0.6, 2.5], 3)
    distances, q = SelfDistance(), HOME
    for deflection in asked:
        path, speeds, _ = run(full * np.array(deflection), 40, q)
        q = path[-1]
        assert (path > LIMITS.low - 1e-3).all()
        assert (path < LIMITS.high + 1e-3).all()
        assert (np.abs(speeds) <= LIMITS.velocity + 1e-6).all()
        tips = np.array([forward(p)[:3, 3] for p in path[::4]])
        assert (tips > BOX[:, 0]).all()
        assert (tips < BOX[:, 1]).all()
        assert min(distances.measure(joint_frames(p))[0].min() for p in path[::4]) > 0


def test_the_wall_of_the_workspace_is_slid_along() -> None:
    path, _, limits = run(np.array([0.0, 0.2, -0.2, 0, 0, 0]), 160)
    tip = forward(path[-1])[:3, 3]
    assert tip[2] == pytest.approx(BOX[2, 0] + 0.008, abs=0.003)
    assert tip[1] > 0.4
    assert "workspace" in limits


def test_self_collision_stops_the_turn_of_the_hand() -> None:
    path, _, limits = run(np.array([0, 0, 0, 0, 0.8, 0]), 200)
    clearance = min(SelfDistance().measure(joint_frames(p))[0].min() for p in path)
    assert clearance > CLEARANCE_M / 2
    assert "self-collision" in limits


def test_without_the_clearance_the_hand_would_have_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Constraints(PANDA.safety)
    monkeypatch.setattr(free, "_near", lambda frames: (np.zeros((0, 7)), np.zeros(0)))
    path, _, _ = run(np.array([0, 0, 0, 0, 0.8, 0]), 200, ik=DifferentialIK(free))
    assert min(SelfDistance().measure(joint_frames(p))[0].min() for p in path) < 0


@pytest.mark.parametrize("goal", [[0.4, -0.5, 0.3, -2.0, 0.2, 1.7, 0.4], [-0.5, 0.2, 0.1, -2.2, -0.3, 2.2, 1.2]])
def test_a_pose_is_reached(goal: list[float]) -> None:
    target, q, dq = forward(goal), HOME, np.zeros(7)
    for _ in range(400):
        twist = 4 * pose_error(forward(q), target)
        step = IK.solve(q, Motion(twist=twist), dq, STEP_S)
        q, dq = q + STEP_S * step.dq, step.dq
    np.testing.assert_allclose(forward(q), target, atol=2e-3)


def test_posture_moves_the_elbow_and_not_the_tool() -> None:
    posture = np.array([0.5, 0, 0, 0, 0, 0, 0])
    dq = IK.solve(HOME, Motion(twist=np.zeros(6), posture=posture), np.zeros(7), 1.0).dq
    assert np.linalg.norm(dq) > 0.05
    np.testing.assert_allclose(jacobian(HOME) @ dq, 0, atol=2e-3)


def test_the_elbow_comes_back_to_its_posture() -> None:
    tilted = HOME + np.array([0.3, 0, -0.3, 0, 0, 0, 0])
    q, dq, home = tilted, np.zeros(7), forward(tilted)
    for _ in range(200):
        step = IK.solve(q, Motion(twist=2 * pose_error(forward(q), home), posture=HOME - q), dq, STEP_S)
        q, dq = q + STEP_S * step.dq, step.dq
    assert np.abs(q - HOME).max() < 0.6 * np.abs(tilted - HOME).max()
    np.testing.assert_allclose(forward(q)[:3, 3], home[:3, 3], atol=2e-3)


def test_a_stretched_arm_is_safe() -> None:
    wide = replace(PANDA.safety, workspace=replace(PANDA.safety.workspace, x_m=(-1, 1), y_m=(-1, 1), z_m=(-1, 2)))
    ik = DifferentialIK(Constraints(wide))
    stretched = np.array([0.0, 0.6, 0.0, -0.15, 0.0, 1.0, 0.8])
    for twist in ([0.3, 0, 0, 0, 0, 0], [-0.3, 0, 0.1, 0, 0, 0]):
        path, speeds, _ = run(np.array(twist), 100, stretched, ik)
        assert (np.abs(speeds) <= LIMITS.velocity + 1e-6).all()
        assert np.abs(np.diff(speeds, axis=0)).max() < 0.4, "no chatter between the limits"
    assert forward(path[-1])[0, 3] < forward(stretched)[0, 3] - 0.2


def test_velocities_change_no_faster_than_the_acceleration_limit() -> None:
    _, speeds, _ = run(np.array([0.3, 0, 0, 0, 0, 0]), 10)
    steps = np.abs(np.diff(speeds, axis=0, prepend=np.zeros((1, 7))))
    assert (steps <= LIMITS.acceleration * STEP_S + 1e-9).all()


def test_targets_stay_near_the_measured_joints() -> None:
    window, q, dq = (HOME - 0.1, HOME + 0.1), HOME, np.zeros(7)
    for _ in range(100):
        step = IK.solve(q, Motion(joints=np.full(7, 0.5)), dq, STEP_S, window)
        q, dq = q + STEP_S * step.dq, step.dq
    np.testing.assert_allclose(q - HOME, 0.1, atol=0.01)
    assert step.limited_by == ("arm lags behind",)


def test_an_arm_outside_a_limit_comes_back() -> None:
    q, dq, limits = HOME.copy(), np.zeros(7), set()
    q[6] = LIMITS.high[6] + 0.05
    for _ in range(60):
        step = IK.solve(q, Motion(joints=np.zeros(7)), dq, STEP_S)
        q, dq, limits = q + STEP_S * step.dq, step.dq, limits | set(step.limited_by)
    assert q[6] == pytest.approx(LIMITS.high[6], abs=0.005)
    assert limits == {"joint position"}
