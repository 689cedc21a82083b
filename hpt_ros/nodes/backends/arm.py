"""What the control thread sends to: one class for each kind of controller on the arm's side."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_ros.configuration import check
from hpt_ros.control.horizon import ArmCommand
from hpt_ros.control.kinematics import forward
from hpt_ros.control.rotation import quaternion_of_matrix
from hpt_ros.embodiment import Embodiment
from hpt_ros.nodes.messages import set_time
from hpt_ros.nodes.runtime import RELIABLE_1

_FLUSH_S = 0.2


class ArmBackend(ABC):
    """One publisher on `command.topic`; a subclass says how a command looks as a message."""

    message_class: type[Any]

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self.embodiment = embodiment
        self._publisher = node.create_publisher(self.message_class, embodiment.command.topic, RELIABLE_1)

    def send(self, command: ArmCommand) -> None:
        """Publish one tick's command."""
        self._publisher.publish(self.message(command))

    @abstractmethod
    def message(self, command: ArmCommand) -> Any:
        """The command in the form that the controller takes."""

    def flush(self) -> None:
        """Wait, not for long, until what was sent has arrived."""
        self._publisher.wait_for_all_acked(Duration(seconds=_FLUSH_S))


class NoArm:
    """Of a dry run: there is no publisher that could move anything."""

    def send(self, command: ArmCommand) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing to wait for."""


class TrajectoryBackend(ArmBackend):
    """ros2_control's joint_trajectory_controller: the motion up to the horizon, then the brake."""

    message_class = JointTrajectory

    def message(self, command: ArmCommand) -> Any:
        message = JointTrajectory(joint_names=list(self.embodiment.joints.names))
        set_time(message.header.stamp, command.stamp_ns)
        for time_s, q, dq in command.points:
            point = JointTrajectoryPoint(positions=array("d", q.tobytes()), velocities=array("d", dq.tobytes()))
            set_time(point.time_from_start, round(time_s * 1e9))
            message.points.append(point)
        return message


class CrispJointBackend(ArmBackend):
    """crisp_controllers' `target_joint`: the next position and velocity, which that impedance controller holds when none follows.

    It takes values by index: the embodiment's joints must be in the controller's order.
    """

    message_class = JointState

    def message(self, command: ArmCommand) -> Any:
        _, q, dq = command.points[0]
        message = JointState(name=list(self.embodiment.joints.names))
        set_time(message.header.stamp, command.stamp_ns)
        message.position, message.velocity = array("d", q.tobytes()), array("d", dq.tobytes())
        return message


class CrispPoseBackend(ArmBackend):
    """crisp_controllers' `target_pose`: the pose of the tool centre point that belongs to the next joint position, in the base frame."""

    message_class = PoseStamped

    def message(self, command: ArmCommand) -> Any:
        pose = forward(command.points[0][1])
        message = PoseStamped()
        message.header.frame_id = self.embodiment.command.frame
        set_time(message.header.stamp, command.stamp_ns)
        p, o = message.pose.position, message.pose.orientation
        p.x, p.y, p.z = map(float, pose[:3, 3])
        o.w, o.x, o.y, o.z = map(float, quaternion_of_matrix(pose[:3, :3]))
        return message


class ArrayBackend(ArmBackend):
    """The next position alone, by index: multipanda's joint impedance controller, which holds it, or a forward controller."""

    message_class = Float64MultiArray

    def message(self, command: ArmCommand) -> Any:
        return Float64MultiArray(data=_doubles(command.points[0][1]))


class PositionBackend(ArrayBackend):
    """A forward position controller. When the sender dies nothing brakes, hence for simulated arms only, or with `command.unbraked`.

    Raises:
        ConfigError: the embodiment is a real arm without `command.unbraked`.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        _require_simulated(embodiment, "the arm stops at once")
        super().__init__(node, embodiment)


class VelocityBackend(ArmBackend):
    """A forward velocity controller. When the sender dies the arm drives on, hence for simulated arms only, or with `command.unbraked`.

    Raises:
        ConfigError: the embodiment is a real arm without `command.unbraked`.
    """

    message_class = Float64MultiArray

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        _require_simulated(embodiment, "the arm drives on")
        super().__init__(node, embodiment)

    def message(self, command: ArmCommand) -> Any:
        return Float64MultiArray(data=_doubles(command.points[0][2]))


_BACKENDS: dict[str, Callable[[Node, Embodiment], ArmBackend]] = {
    "joint_trajectory": TrajectoryBackend,
    "crisp_joint": CrispJointBackend,
    "crisp_pose": CrispPoseBackend,
    "multipanda_joint": ArrayBackend,
    "joint_position": PositionBackend,
    "joint_velocity": VelocityBackend,
}


def make_arm_backend(node: Node, embodiment: Embodiment) -> ArmBackend:
    """The back-end that `command.backend` names."""
    return _BACKENDS[embodiment.command.backend](node, embodiment)


def command_type(embodiment: Embodiment) -> str:
    """What that back-end sends, as graph tools name it: trajectory_msgs/msg/JointTrajectory."""
    kind: Any = _BACKENDS[embodiment.command.backend]
    return f"{kind.message_class.__module__.partition('.')[0]}/msg/{kind.message_class.__name__}"


def _require_simulated(embodiment: Embodiment, consequence: str) -> None:
    check(
        embodiment.simulated or embodiment.command.unbraked,
        "command.backend",
        embodiment.command.backend,
        "joint_trajectory, crisp_joint, crisp_pose or multipanda_joint on a real arm",
        f"streamed set-points carry no brake: if the commander dies, {consequence}; command.unbraked: true admits it",
    )


def _doubles(values: NDArray[np.float64]) -> array[float]:
    if not math.isfinite(values.sum()):
        raise ValueError("a command that is not finite")
    return array("d", values.tobytes())
