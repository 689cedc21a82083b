"""The gripper's own thread, and the ways in which a width reaches it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.schema import Command
from hpt_ros.errors import MissingDependencyError
from hpt_ros.nodes.runtime import RELIABLE_1

_ANYTHING_M = 0.08  # grasp tolerance that takes whatever is between the fingers
_RESULT_TIMEOUT_S = 10.0  # a width that cannot be reached keeps libfranka busy for minutes


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


class ActionGripper:
    """One goal at a time: the next is sent when the last has ended, or is cancelled because it takes too long.

    Args:
        action_types: the classes of the actions by name, each served on `<gripper_topic>/<name>`.
        goal_for: width [m] -> name of the action and its goal.
    """

    def __init__(
        self, node: Node, topic: str, action_types: dict[str, Any], goal_for: Callable[[float], tuple[str, Any]]
    ) -> None:
        self._node, self._goal_for = node, goal_for
        self._clients = {
            name: ActionClient(node, kind, f"{topic}/{name}" if name else topic) for name, kind in action_types.items()
        }

    def send(self, width_m: float) -> None:
        """Send a goal and wait for its end; called in the gripper's thread."""
        name, goal = self._goal_for(width_m)
        client, log = self._clients[name], self._node.get_logger()
        if not client.server_is_ready():
            log.error(f"gripper: no action server for {name or 'the command'}", throttle_duration_sec=1.0)
            return
        ended = threading.Event()
        handle: list[Any] = []

        def on_accepted(future: Any) -> None:
            handle.append(future.result())
            if not handle[0].accepted:
                log.error(f"gripper: the server refused {name or 'the command'} to {width_m:.3f} m")
                ended.set()
                return
            handle[0].get_result_async().add_done_callback(lambda _: ended.set())

        client.send_goal_async(goal).add_done_callback(on_accepted)
        if not ended.wait(_RESULT_TIMEOUT_S):
            log.warning(f"gripper: {name or 'the command'} did not end in {_RESULT_TIMEOUT_S:g} s: cancelled")
            if handle:
                handle[0].cancel_goal_async()


def make_gripper_worker(node: Node, embodiment: Embodiment) -> GripperWorker | None:
    """The worker for `command.gripper_backend`; None for `none`.

    Raises:
        MissingDependencyError: the package with the gripper's actions is not installed.
    """
    command = embodiment.command
    if command.gripper_backend == "none":
        return None
    makers = {"topic": _topic_sender, "franka_actions": _franka_sender, "gripper_command": _gripper_command_sender}
    return GripperWorker(makers[command.gripper_backend](node, command))


def _topic_sender(node: Node, command: Command) -> Callable[[float], None]:
    publisher = node.create_publisher(Float64MultiArray, command.gripper_topic, RELIABLE_1)
    return lambda width_m: publisher.publish(Float64MultiArray(data=[width_m]))


def _franka_sender(node: Node, command: Command) -> Callable[[float], None]:
    """Opens with Move; closes with Grasp, which keeps its force on whatever it finds."""
    actions = _actions("franka_msgs", "franka_actions")

    def goal_for(width_m: float) -> tuple[str, Any]:
        if width_m > 0:
            return "move", actions.Move.Goal(width=width_m, speed=command.gripper_speed_m_s)
        goal = actions.Grasp.Goal(width=0.0, speed=command.gripper_speed_m_s, force=command.gripper_force_n)
        goal.epsilon.inner = goal.epsilon.outer = _ANYTHING_M
        return "grasp", goal

    return ActionGripper(node, command.gripper_topic, {"move": actions.Move, "grasp": actions.Grasp}, goal_for).send


def _gripper_command_sender(node: Node, command: Command) -> Callable[[float], None]:
    """control_msgs/GripperCommand; `position` is `gripper_position_per_m` times the width: 0.5 for the Franka Hand's fingers."""
    actions = _actions("control_msgs", "gripper_command")

    def goal_for(width_m: float) -> tuple[str, Any]:
        goal = actions.GripperCommand.Goal()
        goal.command.position = width_m * command.gripper_position_per_m
        goal.command.max_effort = command.gripper_force_n
        return "", goal

    return ActionGripper(node, command.gripper_topic, {"": actions.GripperCommand}, goal_for).send


def _actions(package: str, backend: str) -> Any:
    try:
        return import_module(f"{package}.action")
    except ImportError as error:
        raise MissingDependencyError(
            f"command.gripper_backend {backend} needs the ROS package {package} ({error})",
            f"install ros-$ROS_DISTRO-{package.replace('_', '-')}, or build it in your workspace, or use another gripper_backend",
        ) from error
