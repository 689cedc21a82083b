"""What the commander may do, as a table: (state, event) -> state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from hpt_ros.errors import HptRosError


class State(Enum):
    """IDLE sends nothing. ENGAGING and HOLDING hold the arm still. RUNNING follows chunks, HOMING the way home. FAULT is left by a person only."""

    IDLE = "IDLE"
    ENGAGING = "ENGAGING"
    RUNNING = "RUNNING"
    HOLDING = "HOLDING"
    HOMING = "HOMING"
    FAULT = "FAULT"


class Event(Enum):
    """A person's wishes (`engage` to `recover_errors`), then what the commander sees by itself."""

    ENGAGE = "engage"
    DISENGAGE = "disengage"
    HOLD = "hold"
    RESUME = "resume"
    RESET = "reset"
    HOME = "home"
    RECOVER_ERRORS = "recover_errors"
    ARRIVED = "home reached"
    FIRST_CHUNK = "first chunk accepted"
    MISMATCH = "first chunk too far from the arm"
    STARVED = "chunks late or used up"
    STALE_JOINTS = "joint states late"
    DEADMAN = "deadman button released or silent"
    RECOVERED = "chunks and joint states fresh again"
    FAULT = "fault"


COMMANDS = (
    Event.ENGAGE,
    Event.DISENGAGE,
    Event.HOLD,
    Event.RESUME,
    Event.RESET,
    Event.HOME,
    Event.RECOVER_ERRORS,
)

_I, _E, _R, _H, _F = State.IDLE, State.ENGAGING, State.RUNNING, State.HOLDING, State.FAULT
_O = State.HOMING

TABLE: Mapping[Event, Mapping[State, State]] = {
    # A pair that is not here: a person's wish is refused, what the commander sees changes nothing.
    Event.ENGAGE: {_I: _E},
    Event.DISENGAGE: {_I: _I, _E: _I, _R: _I, _H: _I, _O: _I},
    Event.HOLD: {_E: _H, _R: _H, _H: _H, _O: _H},
    Event.RESUME: {_H: _E},
    Event.RESET: {_F: _I},
    Event.HOME: {_I: _O},
    # The robot is brought back, the fault stays until it is reset.
    Event.RECOVER_ERRORS: {_I: _I, _F: _F},
    Event.ARRIVED: {_O: _I},
    Event.FIRST_CHUNK: {_E: _R},
    Event.MISMATCH: {_E: _I},
    # Nobody has asked for chunks on the way home: it ends in IDLE, never in a hold that recovers by itself.
    Event.STARVED: {_E: _I, _R: _H, _O: _I},
    Event.STALE_JOINTS: {_E: _I, _R: _H, _O: _I},
    Event.DEADMAN: {_E: _H, _R: _H, _H: _H, _O: _I},
    Event.RECOVERED: {_H: _R},
    Event.FAULT: {_I: _F, _E: _F, _R: _F, _H: _F, _O: _F},
}


class TransitionRefused(HptRosError):
    """A person's wish that makes no sense in the present state."""


class StateMachine:
    """The present state and why it is so."""

    def __init__(self) -> None:
        self.state, self.reason = State.IDLE, "start-up"
        self._cause = self.reason

    def require(self, event: Event) -> None:
        """Refuse a wish before anything is done for it.

        Raises:
            TransitionRefused: a wish that the table does not have for this state.
        """
        if event in COMMANDS and self.state not in TABLE[event]:
            allowed = ", ".join(state.value for state in TABLE[event])
            raise TransitionRefused(f"{event.value} is refused in {self.state.value}", f"possible in: {allowed}")

    def apply(self, event: Event, reason: str) -> bool:
        """Go where the table says; whether the state changed. The reason is kept unless the table has no such pair.

        Raises:
            TransitionRefused: as `require`.
        """
        self.require(event)
        before, after = self.state, TABLE[event].get(self.state)
        if after is not None:
            self.state, self.reason, self._cause = after, reason, reason
        return self.state is not before

    def note(self, text: str) -> None:
        """Add to the reason, which stays; a later note takes this one's place."""
        self.reason = f"{self._cause} ({text})"
