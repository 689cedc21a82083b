"""What each back-end puts on its topic, and the rules about where it may be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpt_ros.control.horizon import ArmCommand
from hpt_ros.control.kinematics import forward
from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.errors import ConfigError, MissingDependencyError

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

SIM = load_embodiment("sim_panda")
Q, DQ = np.array(SIM.home_rad), np.linspace(-0.1, 0.2, 7)
COMMAND = ArmCommand(5_000_000_007, ((0.01, Q, DQ), (0.02, Q + 0.01, np.zeros(7))))


@pytest.fixture
def node(ros_env: dict[str, str]) -> Iterator[Any]:
    rclpy.init(domain_id=int(ros_env["ROS_DOMAIN_ID"]))
    node = rclpy.create_node("backends")
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


def arm(backend: str, robot: Embodiment = SIM) -> Embodiment:
    return replace(robot, command=replace(robot.command, backend=backend, topic=f"/{backend}"))


def message(node: Any, backend: str) -> Any:
    from hpt_ros.nodes.backends import make_arm_backend

    return make_arm_backend(node, arm(backend)).message(COMMAND)


def test_trajectory_holds_every_point_and_ends_at_rest(node: Any) -> None:
    sent = message(node, "joint_trajectory")
    assert sent.joint_names == list(SIM.joints.names)
    assert (sent.header.stamp.sec, sent.header.stamp.nanosec) == (5, 7)
    assert [p.time_from_start.nanosec for p in sent.points] == [10_000_000, 20_000_000]
    assert list(sent.points[0].positions) == Q.tolist()
    assert not any(sent.points[-1].velocities)


def test_crisp_joint_is_the_next_point_in_the_order_of_the_embodiment(node: Any) -> None:
    sent = message(node, "crisp_joint")
    assert list(sent.name) == list(SIM.joints.names)
    assert (list(sent.position), list(sent.velocity)) == (Q.tolist(), DQ.tolist())


def test_crisp_pose_is_the_forward_kinematics_of_the_next_point(node: Any) -> None:
    sent = message(node, "crisp_pose")
    p, o = sent.pose.position, sent.pose.orientation
    np.testing.assert_allclose([p.x, p.y, p.z], forward(Q)[:3, 3])
    np.testing.assert_allclose(np.abs([o.x, o.y, o.z, o.w]), [1, 0, 0, 0], atol=1e-9)
    assert sent.header.frame_id == "base"


@pytest.mark.parametrize(
    ("backend", "values"), [("multipanda_joint", Q), ("joint_position", Q), ("joint_velocity", DQ)]
)
def test_arrays_go_by_index(node: Any, backend: str, values: Any) -> None:
    assert list(message(node, backend).data) == values.tolist()


def test_a_command_that_is_not_finite_is_never_sent(node: Any) -> None:
    from hpt_ros.nodes.backends import make_arm_backend

    bad = ArmCommand(0, ((0.01, np.full(7, np.nan), DQ),))
    for backend in ("multipanda_joint", "joint_position"):
        with pytest.raises(ValueError, match="not finite"):
            make_arm_backend(node, arm(backend)).message(bad)


@pytest.mark.parametrize("backend", ["joint_position", "joint_velocity"])
def test_what_cannot_brake_by_itself_is_refused_on_a_real_arm(node: Any, backend: str) -> None:
    from hpt_ros.nodes.backends import make_arm_backend

    real = arm(backend, load_embodiment("panda"))
    with pytest.raises(ConfigError, match="on a real arm"):
        make_arm_backend(node, real)
    admitted = replace(real, command=replace(real.command, unbraked=True))
    assert len(make_arm_backend(node, admitted).message(COMMAND).data) == 7


@pytest.mark.parametrize(
    ("backend", "package"), [("franka_actions", "franka_msgs"), ("gripper_command", "control_msgs")]
)
def test_a_gripper_whose_actions_are_not_installed_names_their_package(node: Any, backend: str, package: str) -> None:
    from hpt_ros.nodes.backends import make_gripper_worker

    try:
        __import__(f"{package}.action")
    except ImportError:
        robot = replace(SIM, command=replace(SIM.command, gripper_backend=backend))
        with pytest.raises(MissingDependencyError, match=package):
            make_gripper_worker(node, robot)
    else:
        pytest.skip(f"{package} is installed")
