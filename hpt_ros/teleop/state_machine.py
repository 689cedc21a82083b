"""What a device may do, as a table: (event, state) -> state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """Only ACTIVE moves the arm.

    WAITING: for the device, the arm or the commander, then for the person to let go. FREE: clutch open or stick at rest.
    SILENT: no message within the time-out. REFUSED: a message that cannot be followed.
    """

    WAITING = "WAITING"
    FREE = "FREE"
    ACTIVE = "ACTIVE"
    SILENT = "SILENT"
    REFUSED = "REFUSED"


class Event(Enum):
    """What a look at the device and at the commander says."""

    NEUTRAL = "the person lets go"
    DRIVE = "the person moves the arm"
    SILENCE = "no message within the time-out"
    REFUSE = "a message that cannot be followed"
    UNFOLLOWED = "the commander follows no chunks"


_W, _F, _A, _S, _R = State.WAITING, State.FREE, State.ACTIVE, State.SILENT, State.REFUSED

TABLE: Mapping[Event, Mapping[State, State]] = {
    # A pair that is not here changes nothing: out of WAITING, SILENT and REFUSED the way leads through letting go.
    Event.NEUTRAL: {_W: _F, _A: _F, _S: _F, _R: _F},
    Event.DRIVE: {_F: _A},
    Event.SILENCE: {_F: _S, _A: _S, _R: _S},
    Event.REFUSE: {_W: _R, _F: _R, _A: _R, _S: _R},
    Event.UNFOLLOWED: {_F: _W, _A: _W},
}


def after(state: State, event: Event) -> State:
    """The state that follows."""
    return TABLE[event].get(state, state)
