"""How a robot in error is brought back: error_recovery, and the services of ros2_control's controller manager."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.action import ActionServer
from rclpy.node import Node

from hpt_ros.embodiment.schema import Recovery
from hpt_ros.errors import HptRosError
from hpt_ros.nodes.namespace import under
from hpt_ros.sim.driver import Driver
from hpt_ros.standin.robot import Robot

_ACTIVE = 3  # lifecycle_msgs/State PRIMARY_STATE_ACTIVE
_UNCONFIGURED = 1


class RecoveryServers:
    """What `recovery` of the embodiment names, served on the robot's side. `steps` is what was asked for, in order."""

    def __init__(self, node: Node, contract: Recovery, robot: Robot, driver: Driver) -> None:
        self._contract, self._robot, self._driver = contract, robot, driver
        self.steps: list[str] = []
        if contract.kind == "action":
            kind = import_module("franka_msgs.action").ErrorRecovery
            ActionServer(node, kind, under(node, contract.topic), execute_callback=self._on_action)
        else:
            kind = import_module("franka_msgs.srv").ErrorRecovery
            node.create_service(kind, contract.topic, self._on_service)
        manager = import_module("controller_manager_msgs.srv")
        for name, callback in (
            ("ListControllers", self._on_list),
            ("SwitchController", self._on_switch),
            ("SetHardwareComponentState", self._on_hardware),
        ):
            topic = f"{contract.controller_manager}/{_snake(name)}"
            node.create_service(getattr(manager, name), topic, callback)

    def _try(self, step: str, action: Callable[[], None]) -> str:
        """Why it is refused; empty if it was done."""
        self.steps.append(step)
        try:
            with self._driver.lock:
                action()
        except HptRosError as error:
            return str(error)
        return ""

    def _on_action(self, handle: Any) -> Any:
        if self._try("error_recovery", self._robot.recover):
            handle.abort()
        else:
            handle.succeed()
        return handle._action_server.action_type.Result()

    def _on_service(self, _: Any, response: Any) -> Any:
        response.error = self._try("error_recovery", self._recover_fork)
        response.success = not response.error
        return response

    def _recover_fork(self) -> None:
        """The forks keep their hardware component active through an error."""
        self._robot.recover()
        self._robot.activate_hardware()

    def _on_hardware(self, request: Any, response: Any) -> Any:
        known = request.name == self._contract.hardware and request.target_state.id == _ACTIVE
        refused = self._try("set_hardware_component_state", self._robot.activate_hardware)
        response.ok = known and not refused
        response.state.id = _ACTIVE if self._robot.hardware_active else _UNCONFIGURED
        return response

    def _on_switch(self, request: Any, response: Any) -> Any:
        known = set(request.activate_controllers) <= set(self._contract.controllers)
        world = self._driver.world
        refused = self._try("switch_controller", lambda: self._robot.activate_controller(world.q.copy()))
        response.ok = known and not refused
        response.message = refused
        return response

    def _on_list(self, _: Any, response: Any) -> Any:
        kind = import_module("controller_manager_msgs.msg").ControllerState
        state = "active" if self._robot.controller_active else "inactive"
        response.controller = [kind(name=name, state=state) for name in self._contract.controllers]
        return response


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")
