"""The stand-in on ROS 2 topics: the simulated Panda's scene behind a robot that has rules of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult  # type: ignore[import-untyped]
from rclpy.parameter import Parameter

from hpt_ros.errors import MissingDependencyError
from hpt_ros.nodes.realtime_parameters import ask_for_realtime
from hpt_ros.nodes.runtime import RELIABLE_10, run_node
from hpt_ros.sim.sim_node import SimNode
from hpt_ros.standin.arm_inputs import ArmInputs, make_robot
from hpt_ros.standin.hand import HandServers
from hpt_ros.standin.recovery import RecoveryServers
from hpt_ros.standin.state import StateMessage

_INJECTIONS: dict[str, Any] = {
    "silent": [""],
    "error": "",
    "user_stopped": False,
    "guiding": False,
    "success_rate": 1.0,
    "gripper_stuck": False,
}


class StandInNode(SimNode):
    """Parameters and wiring: the command topic, gripper actions and recovery of the embodiment -> Robot, Driver(World).

    Parameters of SimNode, and: position_interface, mock_hardware, interpolate_from_desired_state, gripper_homed (see
    `make_robot`, `HandServers`), robot_state_rate_hz (the real one: 1000), broadcasters_stop (joints and robot state fall
    silent with the hardware component, as ros2_control's broadcasters do from franka_ros2 2.4 and 3.3 on), realtime_priority and
    lock_memory as the commander's (a real robot's side is never late; not beside rendered cameras, which would come first too). What goes wrong is set while it runs
    (`ros2 param set /standin_node user_stopped true`):
    silent (streams that are not sent: joints, gripper, robot_state, camera.NAME), error (a field of franka_msgs/Errors, which
    becomes a reflex), user_stopped, guiding, success_rate (of the commands), gripper_stuck.
    """

    def __init__(self) -> None:
        self._silent: frozenset[str] = frozenset()
        super().__init__("standin_node")
        for name, usual in _INJECTIONS.items():
            self.declare_parameter(name, usual)
        ask_for_realtime(self, self._driver.thread)
        self.add_on_set_parameters_callback(self._on_parameters)

    def _make_inputs(self) -> None:
        driver, embodiment = self._driver, self.embodiment
        self.robot = make_robot(
            embodiment,
            driver.world.q.copy(),
            position_interface=self.declare_parameter("position_interface", False).value,
            mock=self.declare_parameter("mock_hardware", False).value,
            from_desired=self.declare_parameter("interpolate_from_desired_state", True).value,
        )
        world = driver.world
        driver.reference = lambda stamp_ns: self.robot.sample(stamp_ns, world.q.copy(), world.dq.copy())
        self._broadcasters_stop = self.declare_parameter("broadcasters_stop", False).value
        driver.on_reset = lambda: self.robot.place(world.q.copy())
        self.inputs = ArmInputs(self, embodiment, self.robot, driver)
        self._make_hand()
        self._make_robot_state()
        self._make_reset()

    def _make_hand(self) -> None:
        homed = self.declare_parameter("gripper_homed", True).value
        self._make_gripper_topic()
        try:
            self.hand = HandServers(self, self.embodiment.command, self._driver, homed)
            if self.embodiment.recovery:
                self.recovery = RecoveryServers(self, self.embodiment.recovery, self.robot, self._driver)
        except ImportError as error:
            raise MissingDependencyError(
                f"the stand-in for {self.embodiment.name} needs the robot's message packages ({error})",
                "make setup, or install franka_msgs, control_msgs and controller_manager_msgs",
            ) from error

    def _make_robot_state(self) -> None:
        rate_hz = self._number("robot_state_rate_hz", 100.0)
        contract = self.embodiment.robot_state
        if contract is None:
            return
        filler = StateMessage(contract, self.embodiment.joints.names)
        publisher = self.create_publisher(filler.message_type, contract.topic, RELIABLE_10)

        def publish(stamp_ns: int) -> None:
            publisher.publish(filler.fill(stamp_ns, self.robot, self._driver.world))

        self._driver.every(round(1e9 / rate_hz), partial(self._unless_silent, "robot_state", publish))

    def _unless_silent(self, stream: str, publish: Callable[[int], None], stamp_ns: int) -> None:
        stopped = self._broadcasters_stop and not self.robot.hardware_active and stream != "gripper"
        if stream not in self._silent and not stopped:
            publish(stamp_ns)

    def _publish_joints(self, stamp_ns: int) -> None:
        self._unless_silent("joints", super()._publish_joints, stamp_ns)

    def _publish_gripper(self, stamp_ns: int) -> None:
        self._unless_silent("gripper", super()._publish_gripper, stamp_ns)

    def _deliver_picture(self, name: str, stamp_ns: int, image: Any) -> None:
        if f"camera.{name}" not in self._silent:
            super()._deliver_picture(name, stamp_ns, image)

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            inject = getattr(self, f"_set_{parameter.name}", None)
            if inject is None:
                return SetParametersResult(successful=False, reason=f"{parameter.name} is set at start only")
            with self._driver.lock:
                inject(parameter.value)
        return SetParametersResult(successful=True)

    def _set_silent(self, streams: list[str]) -> None:
        self._silent = frozenset(streams)

    def _set_error(self, flag: str) -> None:
        if flag:
            self.robot.reflex(flag)

    def _set_user_stopped(self, pressed: bool) -> None:
        self.robot.stop_by_user(pressed)

    def _set_guiding(self, on: bool) -> None:
        self.robot.guide(on)

    def _set_success_rate(self, rate: float) -> None:
        self.robot.success_rate = rate

    def _set_gripper_stuck(self, stuck: bool) -> None:
        self.hand.fingers.stuck = stuck


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(StandInNode, args)


if __name__ == "__main__":
    sys.exit(main())
