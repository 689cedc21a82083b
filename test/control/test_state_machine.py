"""The table of states, all of it."""

from __future__ import annotations

from itertools import product

import pytest

from hpt_ros.control.state_machine import COMMANDS, TABLE, Event, State, StateMachine, TransitionRefused

EXPECTED = """
                     IDLE      ENGAGING  RUNNING   HOLDING   HOMING    FAULT
ENGAGE               ENGAGING  refused   refused   refused   refused   refused
DISENGAGE            IDLE      IDLE      IDLE      IDLE      IDLE      refused
HOLD                 refused   HOLDING   HOLDING   HOLDING   HOLDING   refused
RESUME               refused   refused   refused   ENGAGING  refused   refused
RESET                refused   refused   refused   refused   refused   IDLE
HOME                 HOMING    refused   refused   refused   refused   refused
RECOVER_ERRORS       IDLE      refused   refused   refused   refused   FAULT
ARRIVED              -         -         -         -         IDLE      -
FIRST_CHUNK          -         RUNNING   -         -         -         -
MISMATCH             -         IDLE      -         -         -         -
STARVED              -         IDLE      HOLDING   -         IDLE      -
STALE_JOINTS         -         IDLE      HOLDING   -         IDLE      -
DEADMAN              -         HOLDING   HOLDING   HOLDING   IDLE      -
RECOVERED            -         -         -         RUNNING   -         -
FAULT                FAULT     FAULT     FAULT     FAULT     FAULT     -
"""
_HEAD, *_LINES = [line.split() for line in EXPECTED.strip().splitlines()]
CELLS = {(State[state], Event[line[0]]): cell for line in _LINES for state, cell in zip(_HEAD, line[1:], strict=True)}


def in_state(state: State) -> StateMachine:
    machine = StateMachine()
    machine.state = state
    return machine


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)), ids=lambda value: value.name)
def test_every_state_and_event(state: State, event: Event) -> None:
    machine, cell = in_state(state), CELLS[state, event]
    if cell == "refused":
        with pytest.raises(TransitionRefused, match=f"{event.value} is refused in {state.value}"):
            machine.apply(event, "because")
        assert machine.state is state
    elif cell == "-":
        assert machine.apply(event, "because") is False
        assert (machine.state, machine.reason) == (state, "start-up")
    else:
        assert machine.apply(event, "because") is (State[cell] is not state)
        assert (machine.state, machine.reason) == (State[cell], "because")


def test_only_wishes_are_refused() -> None:
    assert {event for (_, event), cell in CELLS.items() if cell == "refused"} <= set(COMMANDS)


def test_a_fault_is_left_by_reset_alone() -> None:
    assert [event for event in Event if TABLE[event].get(State.FAULT, State.FAULT) is not State.FAULT] == [Event.RESET]


def test_a_note_is_added_to_the_reason_and_takes_the_place_of_the_one_before() -> None:
    machine = StateMachine()
    machine.apply(Event.FAULT, "joint_reflex")
    machine.note("recovering")
    machine.note("recovered")
    assert machine.reason == "joint_reflex (recovered)"


def test_motion_begins_only_from_a_hold() -> None:
    into_running = {
        (event, state) for event, row in TABLE.items() for state, after in row.items() if after is State.RUNNING
    }
    assert into_running == {(Event.FIRST_CHUNK, State.ENGAGING), (Event.RECOVERED, State.HOLDING)}
