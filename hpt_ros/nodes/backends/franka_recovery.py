"""How franka_ros2 and its forks are brought back after an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from lifecycle_msgs.msg import State
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future

from hpt_ros.embodiment.schema import Recovery
from hpt_ros.errors import HptRosError, MissingDependencyError
from hpt_ros.nodes.namespace import under

_SUCCEEDED = 4  # action_msgs/GoalStatus


class RecoveryFailed(HptRosError):
    """A step of the recovery that the robot's side refused or did not answer."""


class FrankaRecovery:
    """The sequence of franka_ros2 and its forks: error recovery, hardware component, controllers.

    Raises:
        MissingDependencyError: franka_msgs, or controller_manager_msgs where it is needed, is not installed.
    """

    def __init__(self, node: Node, contract: Recovery) -> None:
        self._contract = contract
        self._deadline_s = 0.0
        if contract.kind == "action":
            self._action = ActionClient(node, _package("franka_msgs.action").ErrorRecovery, under(node, contract.topic))
        else:
            self._service = node.create_client(_package("franka_msgs.srv").ErrorRecovery, contract.topic)
        if contract.hardware or contract.controllers:
            self._manager = _package("controller_manager_msgs.srv")
            name = contract.controller_manager
            self._set_hardware = node.create_client(
                self._manager.SetHardwareComponentState, f"{name}/set_hardware_component_state"
            )
            self._switch = node.create_client(self._manager.SwitchController, f"{name}/switch_controller")

    def recover(self, timeout_s: float) -> str:
        """What `control.recovery.RecoveryPort` asks for: each step waits for the one before; what was done.

        Raises:
            RecoveryFailed: names the step.
        """
        self._deadline_s = time.monotonic() + timeout_s
        done = ["errors cleared"]
        if self._contract.kind == "action":
            self._recover_by_action()
        else:
            answer = self._call(self._service, _package("franka_msgs.srv").ErrorRecovery.Request())
            self._require(answer.success, self._contract.topic, answer.error)
        if self._contract.hardware:
            self._activate_hardware()
            done.append(f"{self._contract.hardware} active")
        if self._contract.controllers:
            self._switch_on()
            done.append(f"{', '.join(self._contract.controllers)} on")
        return "; ".join(done)

    def _recover_by_action(self) -> None:
        topic = self._contract.topic
        self._wait_until(self._action.server_is_ready, topic)
        handle = self._result(self._action.send_goal_async(_package("franka_msgs.action").ErrorRecovery.Goal()), topic)
        self._require(handle.accepted, topic, "the goal was refused")
        status = self._result(handle.get_result_async(), topic).status
        self._require(status == _SUCCEEDED, topic, "the robot did not recover; is its user stop pressed?")

    def _activate_hardware(self) -> None:
        request = self._manager.SetHardwareComponentState.Request(name=self._contract.hardware)
        request.target_state.id, request.target_state.label = State.PRIMARY_STATE_ACTIVE, "active"
        answer = self._call(self._set_hardware, request)
        self._require(answer.ok, "set_hardware_component_state", f"{self._contract.hardware} does not become active")

    def _switch_on(self) -> None:
        kind = self._manager.SwitchController.Request
        # Best effort: those that are active already do not make it fail.
        request = kind(activate_controllers=list(self._contract.controllers), strictness=kind.BEST_EFFORT)
        request.timeout.sec = 2
        answer = self._call(self._switch, request)
        self._require(answer.ok, "switch_controller", getattr(answer, "message", "") or "see the controller manager")

    def _call(self, client: Any, request: Any) -> Any:
        self._wait_until(client.service_is_ready, client.srv_name)
        return self._result(client.call_async(request), client.srv_name)

    def _result(self, future: Future, what: str) -> Any:
        answered = threading.Event()
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(max(0.0, self._deadline_s - time.monotonic())):
            raise RecoveryFailed(f"recovery: {what} does not answer", "look at the log of the robot's driver")
        return future.result()

    def _wait_until(self, ready: Callable[[], bool], what: str) -> None:
        while not ready():
            if time.monotonic() > self._deadline_s:
                raise RecoveryFailed(
                    f"recovery: nobody serves {what}", "start the robot's driver, or correct `recovery`"
                )
            time.sleep(0.05)

    def _require(self, good: bool, step: str, why: str) -> None:
        if not good:
            raise RecoveryFailed(f"recovery: {step} failed: {why}", "clear it with the robot's own tools (Desk)")


def _package(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f"recovery needs the ROS package {package} ({error})",
            f"install ros-$ROS_DISTRO-{package.replace('_', '-')}, build it in your workspace, or leave `recovery` out",
        ) from error
