"""The capsules hold the simulated arm, and their distances are true to first order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.control.capsules import CAPSULES, PAIRS, SelfDistance, nearest_points
from hpt_ros.control.kinematics import joint_frames
from hpt_ros.control.limits import TABLES

LOW, HIGH = np.array(TABLES["fer"].position_min), np.array(TABLES["fer"].position_max)
READY = np.array([0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4])
DISTANCES = SelfDistance()
unit = st.floats(0, 1)
points = st.tuples(*[st.floats(-1, 1)] * 3)


def distance(q: np.ndarray) -> np.ndarray:
    return DISTANCES.measure(joint_frames(q))[0]


def test_nothing_touches_in_the_ready_posture() -> None:
    assert distance(READY).min() > 0.05


def test_a_hand_folded_onto_the_base_is_seen() -> None:
    folded = np.array([0.0, 1.2, 0.0, -3.0, 0.0, 0.6, 0.8])
    assert distance(folded).min() < 0


@given(st.tuples(*[unit] * 7))
@settings(max_examples=40, deadline=None)
def test_the_gradient_is_the_derivative_of_the_distance(share: tuple[float, ...]) -> None:
    q, eps = LOW + np.array(share) * (HIGH - LOW), 1e-6
    gradient = DISTANCES.measure(joint_frames(q))[1]
    sides = [np.stack([distance(q + sign * eps * axis) for axis in np.eye(7)], axis=1) for sign in (1, -1)]
    here = distance(q)[:, None]
    forward, backward = (sides[0] - here) / eps, (here - sides[1]) / eps
    smooth = np.abs(forward - backward) < 1e-3  # not where the nearest points jump
    np.testing.assert_allclose(gradient[smooth], forward[smooth], atol=2e-3)
    assert smooth.mean() > 0.9


@given(st.tuples(points, points), st.tuples(points, points))
@settings(max_examples=100, deadline=None)
def test_nearest_points_beat_every_sample(first: tuple, second: tuple) -> None:
    a, b = np.array([first]), np.array([second])
    if min(np.linalg.norm(a[0, 1] - a[0, 0]), np.linalg.norm(b[0, 1] - b[0, 0])) < 1e-3:
        return
    p, q = nearest_points(a, b)
    t = np.linspace(0, 1, 21)[:, None]
    on_a, on_b = a[0, 0] + t * (a[0, 1] - a[0, 0]), b[0, 0] + t * (b[0, 1] - b[0, 0])
    sampled = np.linalg.norm(on_a[:, None] - on_b[None], axis=2).min()
    assert np.linalg.norm(p - q) <= sampled + 1e-6


def test_the_capsules_are_nearer_than_the_simulated_arm() -> None:
    pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")
    from hpt_ros.sim.scene import indices, load_model, mujoco

    model = load_model(0.001)
    data, at = mujoco.MjData(model), indices(model)
    bodies: dict[str, list[int]] = {}
    for geom in range(model.ngeom):
        bodies.setdefault(model.body(model.geom_bodyid[geom]).name, []).append(geom)
    hand = bodies["hand"] + bodies["left_finger"] + bodies["right_finger"]
    lower = bodies["link0"] + bodies["link1"] + bodies["link2"]
    upper = bodies["link5"] + bodies["link6"] + bodies["link7"] + hand
    forearm = bodies["link4"] + bodies["link5"][:4]  # the last is the wrist, which the hand cannot reach
    groups = [(lower, upper, (0, 1, 2)), (forearm, hand, (4, 5))]
    ours = [[i for i, (a, _) in enumerate(PAIRS) if CAPSULES[a].link in links] for _, _, links in groups]
    rng, span = np.random.default_rng(0), np.zeros(6)
    near = 0
    for _ in range(150):
        q = rng.uniform(LOW, HIGH)
        data.qpos[at.arm_qpos], data.qpos[at.fingers_qpos] = q, 0.04
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        distances = distance(q)
        for (first, second, _), pairs in zip(groups, ours, strict=True):
            theirs = min(mujoco.mj_geomDistance(model, data, a, b, 1.0, span) for a in first for b in second)
            if theirs < 0.1:
                near += 1
                assert distances[pairs].min() <= theirs
    assert near > 50
