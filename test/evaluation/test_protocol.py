from __future__ import annotations

import pytest

from hpt_ros.evaluation.protocol import STEPS, Effect, Protocol, State
from hpt_ros.evaluation.watch import OPERATOR
from hpt_ros.recording.operator import Event
from hpt_ros.recording.operator_keys import KeyBindings, meanings


def press(protocol: Protocol, event: Event) -> tuple[Effect, ...]:
    step = protocol.step(event)
    assert step is not None
    protocol.intend(step)
    protocol.take(step)
    return step.effects


@pytest.fixture
def running() -> Protocol:
    protocol = Protocol()
    protocol.prepared()
    assert press(protocol, Event.START) == (Effect.START,)
    return protocol


@pytest.mark.parametrize(("event", "score"), [(Event.SUCCESS, 1.0), (Event.PARTIAL, 0.5), (Event.FAIL, 0.0)])
def test_a_score_key_lets_go_of_the_arm_before_it_saves(running, event, score):
    assert press(running, event) == (Effect.STOP, Effect.SAVE)
    assert (running.score, running.termination, running.state) == (score, OPERATOR, State.PREPARING)


def test_an_end_without_a_key_asks_for_the_score_and_keeps_why(running):
    running.ended("timeout")
    assert running.state is State.SCORING
    assert running.step(Event.START) is None
    assert press(running, Event.PARTIAL) == (Effect.SAVE,)
    assert (running.score, running.termination) == (0.5, "timeout")


def test_a_discarded_trial_is_dropped_whatever_stopped_it(running):
    assert press(running, Event.DISCARD) == (Effect.STOP, Effect.DROP)
    running.begin()
    running.prepared()
    press(running, Event.START)
    running.ended("fault")
    assert press(running, Event.REDO) == (Effect.DROP,)


def test_quit_never_leaves_a_moving_arm(running):
    assert press(running, Event.QUIT) == (Effect.STOP,)
    assert running.state is State.SCORING


def test_a_block_is_left_by_a_person_only(running):
    running.blocked()
    assert {event for event in Event if running.step(event)} == {Event.RESUME, Event.QUIT}
    assert press(running, Event.RESUME) == (Effect.RESET,)


def test_nothing_of_a_trial_is_left_for_the_next(running):
    running.note = "slipped"
    running.ended("timeout")
    press(running, Event.FAIL)
    running.begin()
    assert (running.state, running.score, running.termination, running.note) == (State.PREPARING, None, "", "")


def test_the_keys_of_recording_mean_the_same_here():
    events = meanings(KeyBindings().by_event(), STEPS)
    for key, event in (("1", Event.SUCCESS), ("5", Event.PARTIAL), ("0", Event.FAIL), ("d", Event.DISCARD)):
        assert events[State.RUNNING, key] is events[State.SCORING, key] is event
    assert events[State.READY, "enter"] is Event.START
    assert (State.PREPARING, "enter") not in events
