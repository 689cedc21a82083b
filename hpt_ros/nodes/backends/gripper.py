"""The gripper's own thread, and the ways in which a width reaches it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.schema import Command
from hpt_ros.errors import BusyError, MissingDependencyError
from hpt_ros.nodes.namespace import under
from hpt_ros.nodes.runtime import RELIABLE_1

_ANYTHING_M = 0.08  # grasp tolerance that takes whatever is between the fingers
_HOMING_TIMEOUT_S = 30.0
_RESULT_TIMEOUT_S = 10.0  # a width that cannot be reached keeps libfranka busy for minutes


class GripperWorker:
    """Sends widths from a thread of its own, so that a gripper that blocks cannot hold up the arm. The newest width wins.

    Args:
        send: brings a width [m] to the gripper; may block.
        home: finds the ends of the fingers' way and says whether it did; may block. None: not needed.
    """

    def __init__(self, send: Callable[[float], None], home: Callable[[], bool] | None = None) -> None:
        self._send, self._home = send, home
        self._width_m: float | None = None
        self._wake = threading.Condition()
        self._stopping = self._homing = False
        self._homed = home is None
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)
        self._thread.start()

    def command(self, width_m: float) -> None:
        """Ask for a width [m]; returns at once."""
        with self._wake:
            self._width_m = width_m
            self._wake.notify()

    def require_homed(self) -> None:
        """Begin to home the fingers if that has not been done.

        Raises:
            BusyError: they are not homed yet.
        """
        with self._wake:
            if self._homed:
                return
            self._homing = True
            self._wake.notify()
        raise BusyError("the gripper is being homed: its fingers close and open", "engage again when they are open")

    def stop(self) -> None:
        """End the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._width_m is not None or self._homing or self._stopping)
                if self._stopping:
                    return
                homing, width_m, self._width_m = self._homing, self._width_m, None
            if homing and self._home:
                homed = self._home()
                with self._wake:
                    self._homed, self._homing = homed, False
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
            name: ActionClient(node, kind, under(node, f"{topic}/{name}" if name else topic))
            for name, kind in action_types.items()
        }

    def send(self, width_m: float) -> None:
        """Send a goal and wait for its end; called in the gripper's thread."""
        name, goal = self._goal_for(width_m)
        self.run(name, goal, f"to {width_m:.3f} m")

    def run(self, name: str, goal: Any, what: str = "", timeout_s: float = _RESULT_TIMEOUT_S) -> bool:
        """Run one action to its end; whether it succeeded. It is cancelled when it takes too long."""
        client, log = self._clients[name], self._node.get_logger()
        label = " ".join(word for word in (name or "the command", what) if word)
        if not client.server_is_ready():
            log.error(f"gripper: no action server for {label}", throttle_duration_sec=1.0)
            return False
        ended = threading.Event()
        handle: list[Any] = []
        status: list[int] = []

        def on_ended(future: Any) -> None:
            status.append(future.result().status)
            ended.set()

        def on_accepted(future: Any) -> None:
            handle.append(future.result())
            if not handle[0].accepted:
                log.error(f"gripper: the server refused {label}")
                ended.set()
                return
            handle[0].get_result_async().add_done_callback(on_ended)

        client.send_goal_async(goal).add_done_callback(on_accepted)
        if not ended.wait(timeout_s):
            log.warning(f"gripper: {label} did not end in {timeout_s:g} s: cancelled")
            if handle:
                handle[0].cancel_goal_async()
            return False
        if status and status[0] != GoalStatus.STATUS_SUCCEEDED:
            log.warning(f"gripper: {label} did not succeed")
        return status == [GoalStatus.STATUS_SUCCEEDED]


def make_gripper_worker(node: Node, embodiment: Embodiment) -> GripperWorker | None:
    """The worker for `command.gripper_backend`; None for `none`.

    Raises:
        MissingDependencyError: the package with the gripper's actions is not installed.
    """
    command = embodiment.command
    if command.gripper_backend == "none":
        return None
    if command.gripper_backend == "topic":
        return GripperWorker(_topic_sender(node, command))
    if command.gripper_backend == "gripper_command":
        return GripperWorker(_gripper_command_gripper(node, command).send)
    gripper = _franka_gripper(node, command)
    if not command.gripper_homing:
        return GripperWorker(gripper.send)
    goal = _actions("franka_msgs", "franka_actions").Homing.Goal()
    return GripperWorker(gripper.send, lambda: gripper.run("homing", goal, timeout_s=_HOMING_TIMEOUT_S))


def _topic_sender(node: Node, command: Command) -> Callable[[float], None]:
    publisher = node.create_publisher(Float64MultiArray, command.gripper_topic, RELIABLE_1)
    return lambda width_m: publisher.publish(Float64MultiArray(data=[width_m]))


def _franka_gripper(node: Node, command: Command) -> ActionGripper:
    """Opens with Move; closes with Grasp, which keeps its force on whatever it finds."""
    actions = _actions("franka_msgs", "franka_actions")

    def goal_for(width_m: float) -> tuple[str, Any]:
        if width_m > 0:
            return "move", actions.Move.Goal(width=width_m, speed=command.gripper_speed_m_s)
        goal = actions.Grasp.Goal(width=0.0, speed=command.gripper_speed_m_s, force=command.gripper_force_n)
        goal.epsilon.inner = goal.epsilon.outer = _ANYTHING_M
        return "grasp", goal

    kinds = {"move": actions.Move, "grasp": actions.Grasp, "homing": actions.Homing}
    return ActionGripper(node, command.gripper_topic, kinds, goal_for)


def _gripper_command_gripper(node: Node, command: Command) -> ActionGripper:
    """control_msgs/GripperCommand; `position` is `gripper_position_per_m` times the width: 0.5 for the Franka Hand's fingers."""
    actions = _actions("control_msgs", "gripper_command")

    def goal_for(width_m: float) -> tuple[str, Any]:
        goal = actions.GripperCommand.Goal()
        goal.command.position = width_m * command.gripper_position_per_m
        goal.command.max_effort = command.gripper_force_n
        return "", goal

    return ActionGripper(node, command.gripper_topic, {"": actions.GripperCommand}, goal_for)


def _actions(package: str, backend: str) -> Any:
    try:
        return import_module(f"{package}.action")
    except ImportError as error:
        raise MissingDependencyError(
            f"command.gripper_backend {backend} needs the ROS package {package} ({error})",
            f"install ros-$ROS_DISTRO-{package.replace('_', '-')}, or build it in your workspace, or use another gripper_backend",
        ) from error
