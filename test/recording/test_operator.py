"""The table of a recording session: whatever is pressed, no acknowledged episode is lost and the counts agree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.recording.operator import STEPS, Event, Notice, Operator, Outcome, Request, State
from hpt_ros.recording.operator_pace import Pace


@dataclass(frozen=True)
class Status:
    state: str = "IDLE"
    reason: str = ""
    path: str = ""
    episodes_done: int = 0


@dataclass
class FakeRecorder:
    """Grants what the real one grants; every change is a status that somebody may hear late."""

    running: str = ""
    committed: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=lambda: [Status()])
    number: int = 0

    def ask(self, request: Request) -> str | None:
        """The path, None for a refusal."""
        if (request in (Request.STOP, Request.DISCARD)) != bool(self.running):
            return None
        if request is Request.UNDO and not self.committed:
            return None
        path = getattr(self, f"_{request.value}")()
        self.publish()
        return path

    def fail(self) -> None:
        if self.running:
            self.discarded.append(self.running)
            self.running = ""
            self.publish("ERROR", "write error: no space left on device")

    def publish(self, state: str = "", reason: str = "") -> None:
        path = self.running or (self.committed[-1] if self.committed else "")
        state = state or ("RECORDING" if self.running else "IDLE")
        self.statuses.append(Status(state, reason, path, len(self.committed)))

    def _start(self) -> str:
        self.number += 1
        self.running = f"bags/reach/{self.number}"
        return self.running

    def _stop(self) -> str:
        self.committed.append(self.running)
        self.running = ""
        return self.committed[-1]

    def _discard(self) -> str:
        self.discarded.append(self.running)
        self.running = ""
        return ""

    def _undo(self) -> str:
        self.undone.append(self.committed.pop())
        return ""


def answer(operator: Operator, recorder: FakeRecorder, granted: bool, now_s: float) -> list[Notice]:
    request = operator.request
    assert request is not None
    path = recorder.ask(request) if granted else None
    return operator.refused("no") if path is None else operator.granted(path, "message", now_s)


def after(*events: Event, target: int = 0) -> tuple[Operator, FakeRecorder]:
    operator, recorder = Operator(target=target), FakeRecorder()
    operator.follow(recorder.statuses[-1], 0.0)
    for event in events:
        operator.press(event)
        while operator.request:
            answer(operator, recorder, True, 0.0)
        operator.follow(recorder.statuses[-1], 0.0)
    return operator, recorder


ACTIONS = st.one_of(
    st.tuples(st.just("press"), st.sampled_from(Event)),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("hear"), st.integers(1, 4)),
    st.tuples(st.just("other"), st.sampled_from([partial(FakeRecorder.ask, request=r) for r in Request])),
    st.tuples(st.just("other"), st.just(FakeRecorder.fail)),
    st.tuples(st.just("wait"), st.just(3.0)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ACTIONS, max_size=60), st.integers(0, 4), st.integers(0, 3))
def test_no_acknowledged_episode_is_lost_and_the_counts_agree(actions, target, before) -> None:
    operator, recorder, heard, now_s = Operator(before, target), FakeRecorder(), 1, 0.0
    operator.follow(recorder.statuses[0], now_s)
    meant: Event | None = None
    asked = False
    for kind, what in actions:
        if kind == "press" and operator.request is None:
            meant, asked = what, operator.state is State.ASKING
            operator.press(what)
        elif kind == "answer" and operator.request:
            kept, thrown = list(recorder.committed), len(recorder.discarded)
            answer(operator, recorder, what, now_s)
            taken_back = recorder.committed[: len(kept)] != kept
            assert not taken_back or meant in (Event.UNDO, Event.REDO), "only who says so takes an episode back"
            discards = len(recorder.discarded) > thrown
            assert not discards or meant in (Event.DISCARD, Event.REDO) or (meant is Event.QUIT and asked)
        elif kind == "hear":
            for status in recorder.statuses[heard : heard + what]:
                operator.follow(status, now_s)
            heard += what
        elif kind == "other":
            what(recorder)
        elif kind == "wait":
            now_s += what
    while operator.request:
        answer(operator, recorder, True, now_s)
    ended = operator.state is State.ENDED
    for status in [*recorder.statuses[heard:], recorder.statuses[-1]]:
        now_s += 3.0
        operator.follow(status, now_s)
    if not ended:
        assert operator.done == before + len(recorder.committed)
        assert (operator.state in (State.RECORDING, State.ASKING)) == bool(recorder.running)
        assert (operator.state is State.DONE) <= (0 < target <= operator.done)


@pytest.mark.parametrize(("event", "score"), [(Event.SUCCESS, 1.0), (Event.PARTIAL, 0.5), (Event.FAIL, 0.0)])
def test_one_press_stops_and_scores(event: Event, score: float) -> None:
    operator, recorder = after(Event.START)
    operator.note = "grasped twice"
    operator.press(event)
    assert operator.request is Request.STOP
    assert operator.score == score
    answer(operator, recorder, True, 0.0)
    assert (operator.state, operator.done, operator.note) == (State.READY, 1, "")


def test_quitting_while_recording_asks_and_a_second_key_decides() -> None:
    operator, recorder = after(Event.START, Event.QUIT)
    assert operator.state is State.ASKING
    assert recorder.running
    assert not operator.press(Event.PAUSE)
    assert operator.state is State.ASKING
    assert operator.press(Event.GO_ON) == [Notice(Outcome.RESUMED)]
    assert operator.state is State.RECORDING

    operator, recorder = after(Event.START, Event.QUIT, Event.QUIT)
    assert (operator.state, recorder.discarded) == (State.ENDED, ["bags/reach/1"])
    operator, recorder = after(Event.START, Event.QUIT, Event.PARTIAL)
    assert (operator.state, recorder.committed) == (State.ENDED, ["bags/reach/1"])


def test_a_refused_discard_does_not_quit() -> None:
    operator, recorder = after(Event.START, Event.QUIT)
    operator.press(Event.QUIT)
    assert answer(operator, recorder, False, 0.0) == [Notice(Outcome.REFUSED, "discard: no")]
    assert operator.state is State.RECORDING


def test_redo_takes_the_last_back_and_starts_at_once() -> None:
    operator, recorder = after(Event.START, Event.SUCCESS, Event.REDO)
    assert (operator.state, operator.done, recorder.undone) == (State.RECORDING, 0, ["bags/reach/1"])
    operator, recorder = after(Event.START, Event.REDO)
    assert (operator.state, recorder.discarded, recorder.running) == (State.RECORDING, ["bags/reach/1"], "bags/reach/2")


def test_a_redo_whose_start_is_refused_has_undone_and_is_ready() -> None:
    operator, recorder = after(Event.START, Event.SUCCESS)
    operator.press(Event.REDO)
    answer(operator, recorder, True, 0.0)
    notices = answer(operator, recorder, False, 0.0)
    assert (operator.state, operator.done) == (State.READY, 0)
    assert notices == [Notice(Outcome.REFUSED, "start: no")]


def test_the_target_ends_the_session_but_the_last_can_be_undone() -> None:
    operator, _ = after(Event.START, Event.SUCCESS, target=1)
    assert operator.state is State.DONE
    operator, _ = after(Event.START, Event.SUCCESS, Event.UNDO, target=1)
    assert operator.state is State.READY


def test_a_pedal_that_slips_in_a_pause_starts_nothing() -> None:
    operator, _ = after(Event.PAUSE)
    assert Event.START not in STEPS[State.PAUSED]
    assert operator.press(Event.START) == []
    assert (operator.request, operator.state) == (None, State.PAUSED)


def test_a_stop_without_a_path_does_not_count() -> None:
    operator, _ = after(Event.START)
    operator.press(Event.SUCCESS)
    assert operator.granted("", "fine", 0.0)[0].outcome is Outcome.REFUSED
    assert (operator.state, operator.done) == (State.RECORDING, 0)


def test_a_status_older_than_the_grant_is_not_believed() -> None:
    operator, recorder = after()
    operator.press(Event.START)
    answer(operator, recorder, True, 10.0)
    assert operator.follow(Status(), 10.1) == []
    assert operator.state is State.RECORDING
    assert operator.follow(recorder.statuses[-1], 10.2) == []
    lost = operator.follow(Status(), 10.3)
    assert [notice.outcome for notice in lost] == [Outcome.LOST]


def test_an_error_of_the_recorder_is_told_once_and_at_once() -> None:
    operator, recorder = after(Event.START)
    recorder.fail()
    outcomes = [notice.outcome for notice in operator.follow(recorder.statuses[-1], 0.1)]
    assert outcomes == [Outcome.ERROR, Outcome.LOST]
    assert operator.follow(recorder.statuses[-1], 0.2) == []
    assert operator.state is State.READY


def test_an_episode_that_the_recorder_kept_by_itself_counts_and_its_reason_is_told() -> None:
    operator, recorder = after(Event.START)
    recorder.ask(Request.STOP)
    status = replace(recorder.statuses[-1], reason="the disk is nearly full")
    assert [n.outcome for n in operator.follow(status, 0.1)] == [Outcome.SAVED, Outcome.WARNING]
    assert operator.done == 1


def test_what_somebody_else_starts_and_stops_is_followed() -> None:
    operator, recorder = after()
    recorder.ask(Request.START)
    assert operator.follow(recorder.statuses[-1], 1.0) == [Notice(Outcome.STARTED, "bags/reach/1")]
    recorder.ask(Request.STOP)
    assert operator.follow(recorder.statuses[-1], 2.0) == [Notice(Outcome.SAVED, "bags/reach/1")]
    assert operator.done == 1


def test_the_rest_of_the_session_is_estimated_without_breaks() -> None:
    pace = Pace(0.0)
    assert pace.left_s(10) is None
    for now_s in (20.0, 40.0, 1000.0):
        pace.saved(now_s)
    assert pace.left_s(10) == pytest.approx(200.0)
    pace.resumed(2000.0)
    pace.saved(2020.0)
    assert pace.left_s(1) == pytest.approx(20.0)
