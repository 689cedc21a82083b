"""The command topic of each back-end, read as the controller behind it reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.control.limits import TABLES
from hpt_ros.control.rotation import matrix_of_quaternion
from hpt_ros.control.trajectory import Point
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptRosError
from hpt_ros.nodes.runtime import RELIABLE_1
from hpt_ros.sim.driver import Driver
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
from hpt_ros.standin.robot import Robot

_PERIOD_S = 0.001
_CRISP_STIFFNESS = np.array([750.0, 750.0, 750.0, 750.0, 250.0, 150.0, 50.0])  # demo joint_impedance_controller
_CRISP_POSE_STIFFNESS = np.array([300.0] * 4 + [60.0] * 3)  # of joints, about what 600 N/m and 30 N m/rad are
_MULTIPANDA_STIFFNESS = np.array([600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0])


def make_robot(embodiment: Embodiment, q: Any, position_interface: bool, mock: bool, from_desired: bool) -> Robot:
    """The robot with the controller that the embodiment's back-end talks to, at rest at `q` (7,) [rad].

    Args:
        position_interface: of a trajectory controller: steps in acceleration are errors too.
        mock: mock hardware, which has no errors of its own.
        from_desired: see `Trajectory`.
    """
    backend, table = embodiment.command.backend, TABLES[embodiment.safety.limits]
    strict, loose = MotionGuard(table, _PERIOD_S, position_interface), MotionGuard(table, _PERIOD_S, jerk=True)
    pairs: dict[str, tuple[Controller, Guard]] = {
        "joint_trajectory": (Trajectory(embodiment.joints.names, q, from_desired), strict),
        "crisp_joint": (JointTarget(q), TorqueGuard(table, _CRISP_STIFFNESS)),
        "crisp_pose": (PoseTarget(q), TorqueGuard(table, _CRISP_POSE_STIFFNESS)),
        "multipanda_joint": (JointTarget(q), TorqueGuard(table, _MULTIPANDA_STIFFNESS)),
        "joint_position": (ForwardPosition(q), loose),
        "joint_velocity": (ForwardVelocity(q), loose),
    }
    controller, guard = pairs[backend]
    robot = Robot(controller, NoGuard() if mock else guard)
    robot.place(np.asarray(q, dtype=float))
    return robot


class ArmInputs:
    """Subscribes to `command.topic`. A message that the controller would ignore is counted in `discarded`, with `why`."""

    def __init__(self, node: Node, embodiment: Embodiment, robot: Robot, driver: Driver) -> None:
        self._node, self._topic = node, embodiment.command.topic
        self._robot, self._driver = robot, driver
        self.accepted = self.discarded = 0
        self.why = ""
        self._names_warned = False
        kinds: dict[str, tuple[Any, Callable[[Any], None]]] = {
            "joint_trajectory": (JointTrajectory, self._on_trajectory),
            "crisp_joint": (JointState, self._on_joint_target),
            "crisp_pose": (PoseStamped, self._on_pose),
        }
        kind, callback = kinds.get(embodiment.command.backend, (Float64MultiArray, self._on_array))
        node.create_subscription(kind, self._topic, lambda message: self._try(callback, message), RELIABLE_1)

    def _try(self, callback: Callable[[Any], None], message: Any) -> None:
        try:
            with self._driver.lock:
                if not self._robot.commandable:
                    raise CommandDiscarded(f"the controller is not active, the robot is in mode {self._robot.mode}")
                callback(message)
                self.accepted += 1
        except HptRosError as error:
            self.discarded += 1
            self.why = error.message
            self._node.get_logger().warning(f"command discarded: {error.message}", throttle_duration_sec=1.0)

    def _on_trajectory(self, message: Any) -> None:
        points: list[Point] = [
            (
                p.time_from_start.sec + p.time_from_start.nanosec * 1e-9,
                p.positions,
                p.velocities or None,
                p.accelerations or None,
            )
            for p in message.points
        ]
        stamp, world = message.header.stamp, self._driver.world
        controller = self._robot.controller
        assert isinstance(controller, Trajectory)
        now_ns = self._driver.stamp_ns
        controller.accept(
            message.joint_names, points, stamp.sec * 10**9 + stamp.nanosec, now_ns, (world.q.copy(), world.dq.copy())
        )

    def _on_joint_target(self, message: Any) -> None:
        self._require_one_publisher()
        self._controller(JointTarget).accept(message.position)

    def _on_pose(self, message: Any) -> None:
        self._require_one_publisher()
        p, o = message.pose.position, message.pose.orientation
        pose = np.eye(4)
        pose[:3, 3] = p.x, p.y, p.z
        pose[:3, :3] = matrix_of_quaternion([o.w, o.x, o.y, o.z])
        self._controller(PoseTarget).accept(pose)

    def _on_array(self, message: Any) -> None:
        self._controller((JointTarget, ForwardPosition, ForwardVelocity)).accept(message.data)

    def _controller(self, kind: Any) -> Any:
        assert isinstance(self._robot.controller, kind)
        return self._robot.controller

    def _require_one_publisher(self) -> None:
        """crisp ignores a topic on which more than one node may speak."""
        count = self._node.count_publishers(self._topic)
        if count > 1:
            raise CommandDiscarded(f"SAFETY WARNING: {count} publishers on {self._topic}: every message is ignored")
