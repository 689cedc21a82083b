"""What franka_robot_state_broadcaster publishes: FrankaRobotState, or the forks' FrankaState."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from hpt_ros.control.kinematics import forward
from hpt_ros.embodiment.schema import RobotState
from hpt_ros.nodes.messages import message_class, set_time
from hpt_ros.sim.world import World
from hpt_ros.standin.robot import Robot


class StateMessage:
    """One message, filled anew for every state. Fields that nothing here measures stay zero."""

    def __init__(self, contract: RobotState, joint_names: tuple[str, ...]) -> None:
        self.message_type = message_class(contract.msgtype)
        self._message = self.message_type()
        self._flat = contract.msgtype.endswith("/FrankaState")
        if not self._flat:
            self._message.measured_joint_state.name = list(joint_names)
            self._message.desired_joint_state.name = list(joint_names)

    def fill(self, stamp_ns: int, robot: Robot, world: World) -> Any:
        """The message for the present state of `robot` and `world`."""
        message = self._message
        set_time(message.header.stamp, stamp_ns)
        self._fill_joints(message, robot, world)
        message.time = world.time_ns * 1e-9
        message.control_command_success_rate = robot.control_command_success_rate
        message.robot_mode = robot.mode_number()
        for field, flags in (("current_errors", robot.errors), ("last_motion_errors", robot.last_motion_errors)):
            errors = getattr(message, field)
            for name in errors.get_fields_and_field_types():
                setattr(errors, name, name in flags)
        return message

    def _fill_joints(self, message: Any, robot: Robot, world: World) -> None:
        if self._flat:
            message.q, message.dq, message.tau_j = world.q.copy(), world.dq.copy(), world.torque.copy()
            message.o_t_ee = np.asarray(forward(world.q)).T.ravel()  # column-major
            return
        measured = message.measured_joint_state
        measured.header.stamp = message.header.stamp
        measured.position, measured.velocity, measured.effort = (
            array("d", values.tobytes()) for values in (world.q, world.dq, world.torque)
        )
