"""The robot side's rule: replacement, interpolation, rejections."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.control.trajectory import JointTrajectoryFollower, TrajectoryRejected

S = 1_000_000_000
NAMES = ("a", "b")
Z = (0.0, 0.0)


@pytest.fixture
def follower() -> JointTrajectoryFollower:
    return JointTrajectoryFollower(NAMES, Z)


def test_holds_where_it_starts(follower: JointTrajectoryFollower) -> None:
    q, dq = follower.sample(5 * S)
    assert (q == 0).all()
    assert (dq == 0).all()


def test_positions_only_are_linear(follower: JointTrajectoryFollower) -> None:
    follower.accept(NAMES, [(1.0, (1, 2), None, None), (2.0, (1, 4), None, None)], 0, 10 * S)
    np.testing.assert_allclose(follower.sample(10 * S + S // 4)[0], [0.25, 0.5])
    q, dq = follower.sample(11 * S + S // 2)
    np.testing.assert_allclose(q, [1, 3])
    np.testing.assert_allclose(dq, [0, 2])
    q, dq = follower.sample(20 * S)
    np.testing.assert_allclose(q, [1, 4])
    np.testing.assert_allclose(dq, 0)


@pytest.mark.parametrize("with_acceleration", [False, True])
def test_velocities_and_accelerations_follow_a_polynomial_exactly(
    follower: JointTrajectoryFollower, with_acceleration: bool
) -> None:
    polynomial = np.polynomial.Polynomial([0.1, 0.2, -0.3, 0.4] + [0.5, -0.2] * with_acceleration)

    def at(t: float) -> tuple[float, tuple[float, ...], tuple[float, ...], tuple[float, ...] | None]:
        values = [(float(p(t)), -float(p(t))) for p in (polynomial, polynomial.deriv(), polynomial.deriv(2))]
        return t, values[0], values[1], values[2] if with_acceleration else None

    end = (2.0, at(1.5)[1], Z, Z if with_acceleration else None)
    follower.accept(NAMES, [at(0.5), at(1.5), end], 0, 1 * S)
    for t in (0.5, 0.8, 1.2, 1.4999):
        q, dq = follower.sample(S + round(t * S))
        np.testing.assert_allclose(q, [polynomial(t), -polynomial(t)], atol=1e-8)
        np.testing.assert_allclose(dq, [polynomial.deriv()(t), -polynomial.deriv()(t)], atol=1e-6)


def test_a_new_message_replaces_the_whole_trajectory_without_a_jump(follower: JointTrajectoryFollower) -> None:
    follower.accept(NAMES, [(1.0, (1, 1), (0.5, 0.5), None), (2.0, (2, 2), Z, None)], 0, S)
    before, speed = follower.sample(S + S // 2)
    follower.accept(NAMES, [(1.0, (0, 0), Z, None)], 0, S + S // 2)
    after, speed_after = follower.sample(S + S // 2)
    np.testing.assert_allclose(after, before)
    np.testing.assert_allclose(speed_after, speed)
    np.testing.assert_allclose(follower.sample(9 * S)[0], 0)


def test_measured_state_as_the_start(follower: JointTrajectoryFollower) -> None:
    follower.accept(NAMES, [(1.0, (1, 1), Z, None)], 0, S, measured=((0.4, 0.4), Z))
    np.testing.assert_allclose(follower.sample(S)[0], 0.4)


def test_names_in_another_order_are_sorted(follower: JointTrajectoryFollower) -> None:
    follower.accept(("b", "a"), [(1.0, (2, 1), Z, None)], 0, S)
    np.testing.assert_allclose(follower.sample(9 * S)[0], [1, 2])


def test_a_stamp_shifts_the_times(follower: JointTrajectoryFollower) -> None:
    points = [(1.0, (1, 1), None, None), (2.0, (2, 2), None, None)]
    follower.accept(NAMES, points, 3 * S, 2 * S)  # starts a second after its arrival
    np.testing.assert_allclose(follower.sample(3 * S)[0], 0.5)
    np.testing.assert_allclose(follower.sample(4 * S)[0], 1.0)
    follower.accept(NAMES, points, 3 * S, 4 * S + S // 2)  # arrives when its first point has passed
    np.testing.assert_allclose(follower.sample(4 * S + S // 2)[0], 1.5)


@pytest.mark.parametrize(
    ("names", "points", "stamp_ns", "reason"),
    [
        (("a", "c"), [(1.0, (1, 1), Z, None)], 0, "joint names"),
        (("a",), [(1.0, (1,), (0,), None)], 0, "joint names"),
        (NAMES, [], 0, "no points"),
        (NAMES, [(1.0, (1, 1), Z, None), (1.0, (1, 1), Z, None)], 0, "strictly"),
        (NAMES, [(-0.1, (1, 1), Z, None)], 0, "strictly"),
        (NAMES, [(1.0, (1, 1), (0, 0.1), None)], 0, "velocity"),
        (NAMES, [(1.0, (1, 1), Z, None)], 1, "past"),
        (NAMES, [(1.0, (1, 1, 1), Z, None)], 0, "shape"),
        (NAMES, [(1.0, (1, float("nan")), Z, None)], 0, "finite"),
    ],
)
def test_rejections_leave_the_running_trajectory(
    follower: JointTrajectoryFollower, names: tuple[str, ...], points: list, stamp_ns: int, reason: str
) -> None:
    follower.accept(NAMES, [(1.0, (1, 1), Z, None)], 0, 10 * S)
    with pytest.raises(TrajectoryRejected, match=reason):
        follower.accept(names, points, stamp_ns, 10 * S + S // 10)
    np.testing.assert_allclose(follower.sample(12 * S)[0], 1)
