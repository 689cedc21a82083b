"""Teleoperation: a device's messages in, chunks of joint targets out. It only asks; the commander commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Float32

from hpt_ros.configuration import check
from hpt_ros.control.pacing import Window
from hpt_ros.embodiment import load_embodiment
from hpt_ros.embodiment.schema import COMMAND
from hpt_ros.errors import StreamError
from hpt_ros.msg import Command, CommanderStatus, TeleopStatus
from hpt_ros.nodes.chunk_publisher import ChunkPublisher
from hpt_ros.nodes.runtime import RELIABLE_10, HptNode, LateSubscriptions, run_node
from hpt_ros.streams.cdr import decode
from hpt_ros.streams.decode import joint_positions
from hpt_ros.teleop.arm_view import Commanded
from hpt_ros.teleop.config import load_device
from hpt_ros.teleop.decode import (
    DeviceRefused,
    actions_of,
    leader_joints,
    opening_of,
    pose_of,
    twist_of,
    twist_of_axes,
)
from hpt_ros.teleop.hand import HandGuiding
from hpt_ros.teleop.teleoperator import Teleoperator

_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches every version's publishers
_STATUS_PERIOD_S = 0.1
_WINDOW_S = 2.0
_DEPTH = 10


class TeleopNode(HptNode):
    """Parameters and wiring: device topics, joint states, commands -> Teleoperator -> /hpt_ros/action_chunk, status.

    Parameters: embodiment (preset or file), device (preset or file), rate_hz (of the chunks).
    Hand-guiding publishes no chunks.
    """

    def __init__(self) -> None:
        super().__init__("teleop_node")
        self.embodiment = load_embodiment(self.declare_parameter("embodiment", "sim_panda").value)
        self.device = load_device(self.declare_parameter("device", "spacemouse").value)
        rate_hz = float(self.declare_parameter("rate_hz", 30.0).value)
        check(10 <= rate_hz <= 100, "rate_hz", rate_hz, "10 to 100")
        self._teleop = None if self.device.device == "hand" else Teleoperator(self.embodiment, self.device)
        self._guiding = self._teleop or HandGuiding(self.embodiment)
        self._joints: bytes | None = None
        self._command: bytes | None = None
        self._gripper: bytes | None = None
        self._heard_s = Window(_WINDOW_S)
        self._make_outputs()
        self._make_inputs()
        self._late = LateSubscriptions(self)
        self._listen_to_device()
        self.create_timer(1 / rate_hz, self._tick)
        self.create_timer(_STATUS_PERIOD_S, self._publish_status)
        self._greet()

    def _greet(self) -> None:
        self.get_logger().info(f"{self.device.device} for {self.embodiment.name}; its driver: {self.device.driver}")

    def _make_outputs(self) -> None:
        self._status_publisher = self.create_publisher(TeleopStatus, "/hpt_ros/teleop/status", RELIABLE_10)
        if self._teleop:
            self._chunks = ChunkPublisher(self, self.embodiment, self.device.source)

    def _make_inputs(self) -> None:
        robot = self.embodiment
        self.create_subscription(JointState, robot.joints.topic, partial(self._keep, "_joints"), _NEWEST, raw=True)
        self.create_subscription(
            Command, robot.command.record_topic, partial(self._keep, "_command"), _NEWEST, raw=True
        )
        if robot.gripper:
            self.create_subscription(
                JointState, robot.gripper.topic, partial(self._keep, "_gripper"), _NEWEST, raw=True
            )
        self.create_subscription(CommanderStatus, "/hpt_ros/commander/status", self._on_commander, RELIABLE_10)

    def _listen_to_device(self) -> None:
        device, teleop = self.device, self._teleop
        if teleop is None:
            return
        if device.twist:
            kind = TwistStamped if device.twist.stamped else Twist
            self._listen(kind, device.twist.topic, self._on_motion, partial(twist_of, source=device.twist))
        elif device.axes:
            self._listen(Joy, device.axes.topic, self._on_motion, partial(twist_of_axes, source=device.axes))
        elif device.pose:
            self._listen(PoseStamped, device.pose.topic, self._on_motion, partial(pose_of, topic=device.pose.topic))
        elif device.leader:
            source = device.leader
            self._listen(JointState, source.topic, self._on_leader, partial(leader_joints, source=source))
            if source.gripper_topic:
                opening = partial(opening_of, topic=source.gripper_topic)
                self._listen(Float32, source.gripper_topic, teleop.on_opening, opening, "gripper")
        if device.buttons:
            actions = partial(actions_of, buttons=device.buttons)
            self._listen(Joy, device.buttons.topic, teleop.on_buttons, actions, "buttons")

    def _listen(
        self,
        kind: Any,
        topic: str,
        take: Callable[[Any, float], None],
        read: Callable[[Any], Any],
        stream: str = "motion",
    ) -> None:
        def receive(raw: bytes) -> None:
            assert self._teleop is not None, "hand-guiding listens to no device"
            now_s = time.monotonic()
            try:
                take(read(deserialize_message(raw, kind)), now_s)
            except DeviceRefused as error:
                self._teleop.refuse(stream, str(error), now_s)

        self._late.add(topic, kind, receive, _DEPTH)

    # What arrives

    def _keep(self, name: str, raw: bytes) -> None:
        setattr(self, name, raw)

    def _on_commander(self, message: Any) -> None:
        self._guiding.arm.on_commander(message.state, time.monotonic())

    def _on_motion(self, value: Any, now_s: float) -> None:
        assert self._teleop is not None, "hand-guiding listens to no device"
        self._heard_s.add(1.0)
        self._teleop.on_motion(value, now_s)

    def _on_leader(self, value: Any, now_s: float) -> None:
        joints, share = value
        self._on_motion(joints, now_s)
        if share is not None and self._teleop:
            self._teleop.on_opening(share, now_s)

    def _look_at_arm(self, now_s: float) -> None:
        """Decode what has arrived since the last tick: the newest of each, whatever its rate."""
        robot, arm = self.embodiment, self._guiding.arm
        joints, self._joints = self._joints, None
        command, self._command = self._command, None
        gripper, self._gripper = self._gripper, None
        try:
            if joints is not None:
                arm.on_measured(joint_positions(joints, robot.joints.names), now_s)
            if gripper is not None and robot.gripper:
                arm.on_width(float(joint_positions(gripper, robot.gripper.names).sum()))
        except StreamError as error:  # counts as no sample: the stream grows stale
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
        if command is not None:
            message, count = decode(command, COMMAND), len(robot.joints.names)
            width_m = float(message.position[count]) if robot.gripper else None
            arm.on_commanded(
                Commanded(message.position[:count], message.velocity[:count], width_m, message.source), now_s
            )

    # What is sent

    def _tick(self) -> None:
        tick, now_s = self.get_clock().now(), time.monotonic()
        self._look_at_arm(now_s)
        before = self._guiding.state
        rows = self._guiding.tick(now_s)
        if rows is not None:
            self._chunks.publish(rows, tick)
        if self._guiding.state is not before:
            self.get_logger().info(f"{self._guiding.state.value}: {self._guiding.reason}")
            self._publish_status()

    def _publish_status(self) -> None:
        guiding, teleop = self._guiding, self._teleop
        message = TeleopStatus(device=self.device.device, state=guiding.state.value, reason=guiding.reason)
        message.header.stamp = self.get_clock().now().to_msg()
        message.input_age_ms = -1.0
        message.rate_hz = self._heard_s.rate_hz()
        if teleop:
            age_s = teleop.input_age_s(time.monotonic())
            message.input_age_ms = -1.0 if age_s is None else age_s * 1e3
            message.frame, message.scale = teleop.settings.frame, teleop.settings.scale
            message.gripper_closed = teleop.gripper_closed
            message.limited_by = list(teleop.limited_by)
        self._status_publisher.publish(message)


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run hpt_ros teleop_node`."""
    return run_node(TeleopNode, args)


if __name__ == "__main__":
    sys.exit(main())
