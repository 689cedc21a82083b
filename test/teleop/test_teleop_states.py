"""The table: which way leads to a moving arm."""

from __future__ import annotations

import itertools

import pytest

from hpt_ros.teleop.state_machine import TABLE, Event, State, after


def test_only_letting_go_and_then_driving_moves_the_arm() -> None:
    for state in State:
        if state is not State.FREE:
            assert after(state, Event.DRIVE) is state
    assert after(State.FREE, Event.DRIVE) is State.ACTIVE
    assert all(after(state, Event.NEUTRAL) is State.FREE for state in State)


@pytest.mark.parametrize("event", [Event.SILENCE, Event.REFUSE, Event.UNFOLLOWED, Event.NEUTRAL])
def test_everything_else_stops_it(event: Event) -> None:
    assert after(State.ACTIVE, event) is not State.ACTIVE


def test_no_way_to_active_around_free() -> None:
    reached = {
        (state, event)
        for state, event in itertools.product(State, Event)
        if after(state, event) is State.ACTIVE and state is not State.ACTIVE
    }
    assert reached == {(State.FREE, Event.DRIVE)}
    assert set(TABLE) == set(Event)
