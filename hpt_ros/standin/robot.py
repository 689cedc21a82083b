"""The robot and its ros2_control side as one object: modes, errors, who may command, and how it is brought back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.robot_health import MODES
from hpt_ros.errors import HptRosError
from hpt_ros.standin.controllers import Controller
from hpt_ros.standin.guards import Guard

Array = NDArray[np.float64]

MAX_LOST_PACKETS = 20  # in a row: communication_constraints_violation
_SUCCESS_WINDOW = 100  # packets that control_command_success_rate looks back on
_MOVING_RAD_S = 1e-4


class RecoveryRefused(HptRosError):
    """A step of the recovery that is not possible yet."""


@dataclass
class Robot:
    """Stepped once a millisecond by the physics. Calls exclude each other: the owner holds a lock.

    `controller_active` and `hardware_active` are what the controller manager shows. After an error both are down, as
    franka_ros2 has it since 2.4 / 3.3; the recovery is `recover`, `activate_hardware`, `activate_controller`, in this order.

    `success_rate` below 1 loses that share of the commands, as a network that is too slow does.
    """

    controller: Controller
    guard: Guard
    success_rate: float = 1.0
    mode: str = "IDLE"
    errors: set[str] = field(default_factory=set)
    last_motion_errors: set[str] = field(default_factory=set)
    controller_active: bool = True
    hardware_active: bool = True
    reflexes: int = 0
    recoveries: int = 0

    def __post_init__(self) -> None:
        self._held: tuple[Array, Array] | None = None
        self._credit = self.success_rate
        self._lost_in_a_row = 0
        self._arrived = [True] * _SUCCESS_WINDOW
        self._packet = 0
        self._sent: tuple[Array, Array] | None = None

    @property
    def commandable(self) -> bool:
        """Whether the controller runs."""
        return self.controller_active and self.mode in ("IDLE", "MOVE")

    @property
    def control_command_success_rate(self) -> float:
        """Share of the last commands that arrived in time; 0 while nothing moves, as the robot has counted nothing."""
        return float(np.mean(self._arrived)) if self.mode == "MOVE" else 0.0

    def sample(self, now_ns: int, q: Array, dq: Array) -> tuple[Array, Array]:
        """What the joints are to follow; `q` (7,) [rad] and `dq` [rad/s] are measured."""
        if not self.commandable:
            return self._hold(q)
        q_ref, dq_ref = self.controller.sample(now_ns, q)
        if flag := self.guard.flag(q_ref, dq_ref, q, dq):
            self.reflex(flag)
            return self._hold(q)
        moving = bool(self._sent is not None and np.abs(q_ref - self._sent[0]).max() > _MOVING_RAD_S * 1e-3)
        if moving or self.mode == "MOVE":
            self.mode = "MOVE" if moving or np.abs(dq).max() > 0.01 else "IDLE"
        if self._loses_packet():
            if self._lost_in_a_row >= MAX_LOST_PACKETS:
                self.reflex("communication_constraints_violation")
                return self._hold(q)
            return self._sent or (q_ref, dq_ref)
        self._sent = (q_ref.copy(), dq_ref.copy())
        return self._sent

    def reflex(self, flag: str) -> None:
        """The robot stops by itself and says why."""
        self.mode = "REFLEX"
        self.errors = {flag}
        self.last_motion_errors = {flag}
        self.reflexes += 1
        self._stop()

    def stop_by_user(self, pressed: bool) -> None:
        """The activation button: pressed, the brakes are shut; released, the controllers are still down."""
        if pressed:
            self.mode = "USER_STOPPED"
            self._stop()
        elif self.mode == "USER_STOPPED":
            self.mode = "REFLEX" if self.errors else "IDLE"

    def guide(self, on: bool) -> None:
        """A person leads the arm by hand: nothing can be commanded meanwhile."""
        if on:
            self.mode = "GUIDING"
            self._stop()
        elif self.mode == "GUIDING":
            self.mode = "IDLE"

    def recover(self) -> None:
        """The error_recovery action or service: clears the errors and no more.

        Raises:
            RecoveryRefused: the user stop is pressed.
        """
        if self.mode == "USER_STOPPED":
            raise RecoveryRefused("the user stop is pressed", "release it")
        self.errors = set()
        self.mode = "IDLE"
        self.recoveries += 1

    def activate_hardware(self) -> None:
        """`set_hardware_component_state` to active.

        Raises:
            RecoveryRefused: the robot still has an error.
        """
        if self.mode not in ("IDLE", "MOVE"):
            raise RecoveryRefused(f"the robot is in mode {self.mode}", "recover its errors first")
        self.hardware_active = True

    def activate_controller(self, q: Array) -> None:
        """`switch_controller`: the controller takes over where the arm stands, `q` (7,) [rad].

        Raises:
            RecoveryRefused: the hardware is not active.
        """
        if not self.hardware_active:
            raise RecoveryRefused("the hardware component is not active", "set it active first")
        self._restart(q)
        self.controller_active = True

    def place(self, q: Array) -> None:
        """The arm was put at `q` (7,) [rad] by other hands, and stands still there."""
        self._restart(q)
        if not self.commandable:
            self._held = (q.copy(), np.zeros_like(q))

    def mode_number(self) -> int:
        """`robot_mode` of the state messages."""
        return MODES.index(self.mode)

    def _restart(self, q: Array) -> None:
        self.controller.activate(q)
        self.guard.restart(q)
        self._held = self._sent = None
        self._lost_in_a_row = 0

    def _stop(self) -> None:
        self.controller_active = self.hardware_active = False
        self._held = None

    def _hold(self, q: Array) -> tuple[Array, Array]:
        if self._held is None:
            self._held = (q.copy(), np.zeros_like(q))
        return self._held

    def _loses_packet(self) -> bool:
        self._credit += self.success_rate
        arrives = self._credit >= 1.0
        if arrives:
            self._credit -= 1.0
        self._lost_in_a_row = 0 if arrives else self._lost_in_a_row + 1
        self._packet = (self._packet + 1) % _SUCCESS_WINDOW
        self._arrived[self._packet] = arrives
        return not arrives
