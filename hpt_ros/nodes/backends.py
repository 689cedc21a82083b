"""How commands reach the arm and the gripper: one publisher each, reliable, newest only."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_ros.configuration import check
from hpt_ros.control.horizon import ArmCommand
from hpt_ros.embodiment import Embodiment
from hpt_ros.nodes.runtime import RELIABLE_1

_FLUSH_S = 0.2


class ArmBackend(Protocol):
    """What the control thread sends to."""

    def send(self, command: ArmCommand) -> None:
        """Publish one tick's command."""

    def flush(self) -> None:
        """Wait, not for long, until what was sent has arrived."""


class TrajectoryBackend:
    """`trajectory_msgs/JointTrajectory` for ros2_control's joint_trajectory_controller: the motion up to the horizon, then the brake."""

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._names = list(embodiment.joints.names)
        self._publisher = node.create_publisher(JointTrajectory, embodiment.command.topic, RELIABLE_1)

    def send(self, command: ArmCommand) -> None:
        message = JointTrajectory(joint_names=self._names)
        set_time(message.header.stamp, command.stamp_ns)
        for time_s, q, dq in command.points:
            point = JointTrajectoryPoint(positions=array("d", q.tobytes()), velocities=array("d", dq.tobytes()))
            set_time(point.time_from_start, round(time_s * 1e9))
            message.points.append(point)
        self._publisher.publish(message)

    def flush(self) -> None:
        self._publisher.wait_for_all_acked(Duration(seconds=_FLUSH_S))


class PositionBackend:
    """`std_msgs/Float64MultiArray`: the next position alone. When the sender dies nothing brakes, hence for simulated arms only.

    Raises:
        ConfigError: the embodiment is not a simulated one.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        check(
            embodiment.simulated,
            "command.backend",
            "joint_position",
            "joint_trajectory on a real arm",
            "streamed positions carry no brake: if the commander dies the arm stops at once",
        )
        self._publisher = node.create_publisher(Float64MultiArray, embodiment.command.topic, RELIABLE_1)

    def send(self, command: ArmCommand) -> None:
        self._publisher.publish(Float64MultiArray(data=array("d", command.points[0][1].tobytes())))

    def flush(self) -> None:
        self._publisher.wait_for_all_acked(Duration(seconds=_FLUSH_S))


def make_arm_backend(node: Node, embodiment: Embodiment) -> ArmBackend:
    """The back-end that `command.backend` names."""
    backends: dict[str, Callable[[Node, Embodiment], ArmBackend]] = {
        "joint_trajectory": TrajectoryBackend,
        "joint_position": PositionBackend,
    }
    return backends[embodiment.command.backend](node, embodiment)


class GripperWorker:
    """Sends widths from a thread of its own, so that a gripper that blocks cannot hold up the arm. The newest width wins."""

    def __init__(self, send: Callable[[float], None]) -> None:
        self._send = send
        self._width_m: float | None = None
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)
        self._thread.start()

    def command(self, width_m: float) -> None:
        """Ask for a width [m]; returns at once."""
        with self._wake:
            self._width_m = width_m
            self._wake.notify()

    def stop(self) -> None:
        """End the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._width_m is not None or self._stopping)
                if self._stopping:
                    return
                width_m, self._width_m = self._width_m, None
            if width_m is not None:
                self._send(width_m)


def make_gripper_worker(node: Node, embodiment: Embodiment) -> GripperWorker | None:
    """The worker for `command.gripper_backend`; None for `none`."""
    if embodiment.command.gripper_backend == "none":
        return None
    publisher = node.create_publisher(Float64MultiArray, embodiment.command.gripper_topic, RELIABLE_1)
    return GripperWorker(lambda width_m: publisher.publish(Float64MultiArray(data=[width_m])))


def set_time(message: Any, nanoseconds: int) -> None:
    """Fill a builtin_interfaces Time or Duration."""
    message.sec, message.nanosec = divmod(nanoseconds, 10**9)
