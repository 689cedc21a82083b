"""The rules of the stand-in without ROS: what makes the robot stop by itself, and how it is brought back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpt_ros.control.kinematics import forward
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment import load_embodiment
from hpt_ros.standin.controllers import (
    CommandDiscarded,
    Controller,
    ForwardPosition,
    ForwardVelocity,
    JointTarget,
    PoseTarget,
    Trajectory,
)
from hpt_ros.standin.guards import Guard, MotionGuard, NoGuard, TorqueGuard
from hpt_ros.standin.robot import RecoveryRefused, Robot

FR3 = load_embodiment("fr3")
HOME = np.array(FR3.home_rad)
TABLE = TABLES["fer"]
MS = 1_000_000
AT_REST = np.zeros(7)


def run(robot: Robot, milliseconds: int, start_ns: int = 0) -> np.ndarray:
    """Step a robot whose joints follow at once; the last reference."""
    q = HOME if robot._sent is None else robot._sent[0]
    for i in range(milliseconds):
        q = robot.sample(start_ns + i * MS, q, AT_REST)[0]
    return q


def robot_with(controller: Controller, guard: Guard) -> Robot:
    robot = Robot(controller, guard)
    robot.place(HOME)
    return robot


def trajectory(points: list[Any], jerk: bool = False) -> Robot:
    controller = Trajectory(FR3.joints.names, HOME)
    robot = robot_with(controller, MotionGuard(TABLE, 1e-3, jerk))
    run(robot, 5)
    controller.accept(FR3.joints.names, points, 0, 5 * MS, (HOME, AT_REST))
    return robot


def test_a_gentle_trajectory_is_followed() -> None:
    robot = trajectory([(1.0, HOME + 0.2, AT_REST, None)])
    q = run(robot, 1100, 5 * MS)
    np.testing.assert_allclose(q, HOME + 0.2, atol=1e-9)
    assert (robot.errors, robot.reflexes) == (set(), 0)


@pytest.mark.parametrize(
    ("points", "flag"),
    [
        ([(0.05, HOME + 0.2, AT_REST, None)], "joint_motion_generator_velocity_discontinuity"),
        (
            [(1.0, HOME + 0.2, None, None)],
            "joint_motion_generator_velocity_discontinuity",
        ),  # linear: a step in velocity
        ([(2.0, HOME + 3.5, AT_REST, None)], "joint_motion_generator_velocity_limits_violation"),
        ([(3.5, HOME + 2.4, AT_REST, None)], "joint_motion_generator_position_limits_violation"),
    ],
)
def test_a_motion_beyond_the_limits_is_a_reflex_with_its_flag(points: list[Any], flag: str) -> None:
    robot = trajectory(points)
    run(robot, 4000, 5 * MS)
    assert robot.mode == "REFLEX"
    assert robot.errors == {flag}
    assert not robot.commandable


def test_the_position_interface_knows_steps_in_acceleration() -> None:
    points = [
        (0.2, HOME + 0.14, np.full(7, 1.4), None),
        (0.4, HOME + 0.28, AT_REST, None),
    ]  # from 7 to -7 rad/s^2 at once
    followed, stopped = trajectory(points), trajectory(points, jerk=True)
    for robot in (followed, stopped):
        run(robot, 600, 5 * MS)
    assert followed.reflexes == 0
    assert stopped.errors == {"joint_motion_generator_acceleration_discontinuity"}


def test_an_impedance_controller_bears_small_steps_and_no_large_one() -> None:
    controller = JointTarget(HOME)
    robot = robot_with(controller, TorqueGuard(TABLE, np.full(7, 600.0)))
    controller.accept(HOME + 0.005)
    assert np.abs(run(robot, 100) - HOME - 0.005).max() < 1e-4
    controller.accept(HOME + 1.0)
    robot.sample(0, HOME, AT_REST)
    for _ in range(20):  # an arm that has not moved yet
        robot.sample(0, HOME, AT_REST)
    assert robot.errors == {"tau_j_range_violation"}


def test_streamed_set_points_are_steps() -> None:
    """Why joint_position and joint_velocity are refused on a real arm."""
    for controller, values in ((ForwardPosition(HOME), HOME + 0.001), (ForwardVelocity(HOME), np.full(7, 0.1))):
        robot = robot_with(controller, MotionGuard(TABLE, 1e-3, jerk=True))
        controller.accept(values)
        run(robot, 3)
        assert robot.errors == {"joint_motion_generator_velocity_discontinuity"}
        mock = robot_with(controller, NoGuard())
        controller.accept(values)
        run(mock, 3)
        assert mock.reflexes == 0


def test_a_pose_is_reached() -> None:
    controller = PoseTarget(HOME)
    wanted = forward(HOME + np.array([0.1, 0.1, -0.1, 0.1, 0.1, 0.0, 0.0]))
    controller.accept(wanted)
    for i in range(1000):
        q, _ = controller.sample(i * MS, HOME)
    assert np.abs(forward(q) - wanted).max() < 2e-3
    with pytest.raises(CommandDiscarded):
        controller.accept(np.full((4, 4), np.nan))


@pytest.mark.parametrize("values", [HOME[:6], np.full(7, np.nan)])
def test_targets_that_are_no_seven_numbers_are_discarded(values: np.ndarray) -> None:
    for controller in (JointTarget(HOME), ForwardPosition(HOME), ForwardVelocity(HOME)):
        with pytest.raises(CommandDiscarded):
            controller.accept(values)


def test_recovery_has_an_order() -> None:
    robot = robot_with(JointTarget(HOME), NoGuard())
    robot.reflex("joint_reflex")
    with pytest.raises(RecoveryRefused, match="hardware component is not active"):
        robot.activate_controller(HOME)
    with pytest.raises(RecoveryRefused, match="mode REFLEX"):
        robot.activate_hardware()
    robot.recover()
    assert (robot.errors, robot.last_motion_errors) == (set(), {"joint_reflex"})
    robot.activate_hardware()
    assert not robot.commandable
    robot.activate_controller(HOME)
    assert robot.commandable


def test_while_the_user_stop_is_pressed_nothing_recovers() -> None:
    robot = robot_with(JointTarget(HOME), NoGuard())
    robot.stop_by_user(True)
    assert robot.mode == "USER_STOPPED"
    with pytest.raises(RecoveryRefused, match="user stop"):
        robot.recover()
    robot.stop_by_user(False)
    assert (robot.mode, robot.commandable) == ("IDLE", False)


def test_commands_that_arrive_late_lower_the_rate_and_end_in_an_error() -> None:
    controller = Trajectory(FR3.joints.names, HOME)
    robot = robot_with(controller, NoGuard())
    controller.accept(FR3.joints.names, [(1.0, HOME + 0.2, AT_REST, None)], 0, 0, (HOME, AT_REST))
    robot.success_rate = 0.8
    run(robot, 500)
    assert robot.control_command_success_rate == pytest.approx(0.8, abs=0.02)
    robot.success_rate = 0.0
    run(robot, 30, 500 * MS)
    assert robot.errors == {"communication_constraints_violation"}
