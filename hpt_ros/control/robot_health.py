"""What the robot says of itself, and when that ends a motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MODES = ("OTHER", "IDLE", "MOVE", "GUIDING", "REFLEX", "USER_STOPPED", "AUTOMATIC_ERROR_RECOVERY")
"""`robot_mode` of franka_msgs/FrankaRobotState and of the forks' FrankaState, by value."""
MAY_MOVE = ("IDLE", "MOVE")


@dataclass(frozen=True)
class RobotHealth:
    """One robot state: mode, names of the error flags that are set, share of the commands that arrived in time (0 to 1)."""

    mode: str
    errors: tuple[str, ...]
    success_rate: float

    @classmethod
    def of(cls, message: Any) -> RobotHealth:
        """From a `FrankaRobotState` or `FrankaState`."""
        flags = message.current_errors
        names = [name for name in flags.get_fields_and_field_types() if getattr(flags, name)]
        known = 0 <= message.robot_mode < len(MODES)
        mode = MODES[message.robot_mode] if known else f"mode {message.robot_mode}"
        return cls(mode, tuple(names), float(message.control_command_success_rate))

    def fault(self, min_success_rate: float) -> str:
        """Why the arm must not be commanded; empty if it may.

        The success rate counts while the robot moves: before that the robot has counted nothing.
        """
        if self.errors:
            return f"the robot reports {', '.join(self.errors)}"
        if self.mode not in MAY_MOVE:
            return f"the robot is in mode {self.mode}, commands need {' or '.join(MAY_MOVE)}"
        if self.mode == "MOVE" and not self.success_rate >= min_success_rate:
            return (
                f"{self.success_rate:.0%} of the robot's commands arrive in time, at least {min_success_rate:.0%} must"
            )
        return ""
