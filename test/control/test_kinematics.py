"""Forward kinematics against published values, the Jacobian against finite differences, the inverse by closing the loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.control import kinematics as k
from hpt_ros.control.limits import TABLES

FER = TABLES["fer"]
READY = [0, -math.pi / 4, 0, -3 * math.pi / 4, 0, math.pi / 2, math.pi / 4]
joint_vectors = st.tuples(*(st.floats(lo, hi) for lo, hi in zip(FER.position_min, FER.position_max, strict=True)))


def test_ready_pose() -> None:
    np.testing.assert_allclose(k.flange(READY)[:3, 3], [0.306891, 0, 0.590282], atol=1e-6)
    pose = k.forward(READY)
    np.testing.assert_allclose(pose[:3, 3], [0.306891, 0, 0.486882], atol=1e-6)
    np.testing.assert_allclose(pose[:3, :3], np.diag([1, -1, -1]), atol=1e-9)


def test_zero_and_droid_home() -> None:
    np.testing.assert_allclose(k.flange(np.zeros(7))[:3, 3], [0.088, 0, 0.926], atol=1e-9)
    home = [0, -math.pi / 5, 0, -4 * math.pi / 5, 0, 3 * math.pi / 5, 0]
    pose = k.forward(home)
    np.testing.assert_allclose(pose[:3, 3], [0.359703, 0, 0.386541], atol=1e-6)
    assert math.degrees(math.atan2(pose[1, 0], pose[0, 0])) == pytest.approx(45.0)


@given(joint_vectors)
@settings(max_examples=50, deadline=None)
def test_jacobian_is_the_derivative_of_forward(q: tuple[float, ...]) -> None:
    base, eps = np.array(q), 1e-6
    matrix = k.jacobian(base)
    for i in range(7):
        step = np.zeros(7)
        step[i] = eps
        numeric = k.pose_error(k.forward(base - step), k.forward(base + step)) / (2 * eps)
        np.testing.assert_allclose(matrix[:, i], numeric, atol=1e-6)


@given(joint_vectors)
@settings(max_examples=50, deadline=None)
def test_position_alone_agrees_with_forward(q: tuple[float, ...]) -> None:
    np.testing.assert_allclose(k.tcp_position(q), k.forward(q)[:3, 3], atol=1e-12)


def test_pose_error_of_half_a_turn() -> None:
    for axis in ([1, 0, 0], [0, 1, 0], [0.6, 0, -0.8]):
        target = np.eye(4)
        target[:3, :3] = 2 * np.outer(axis, axis) - np.eye(3)
        vector = k.pose_error(np.eye(4), target)[3:]
        assert np.linalg.norm(vector) == pytest.approx(math.pi)
        assert abs(np.dot(vector, axis)) == pytest.approx(math.pi)
    assert np.array_equal(k.pose_error(np.eye(4), np.eye(4)), np.zeros(6))


def test_differential_ik_reaches_a_pose() -> None:
    q = np.array(READY)
    target = k.forward([0.3, -0.6, 0.1, -2.2, 0.1, 1.7, 0.5])
    for _ in range(300):
        q = q + 0.1 * k.differential_ik(q, k.pose_error(k.forward(q), target))
    np.testing.assert_allclose(k.forward(q), target, atol=1e-4)


def test_posture_moves_the_elbow_but_not_the_tool() -> None:
    dq = k.differential_ik(READY, np.zeros(6), damping=1e-6, posture=[0.5, 0, 0, 0, 0, 0, 0])
    assert np.linalg.norm(dq) > 0.1
    np.testing.assert_allclose(k.jacobian(READY) @ dq, 0, atol=1e-6)


def test_differential_ik_stays_bounded_at_a_singularity() -> None:
    straight = [0, 0, 0, -0.07, 0, 0.0, 0]
    assert np.abs(k.differential_ik(straight, [0, 0, 1.0, 0, 0, 0])).max() < 100
