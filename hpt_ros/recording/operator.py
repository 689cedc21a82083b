"""What a person at the robot may do in a recording session: a table, and the machine that walks it.

A score key stops and scores in one press, so that no episode ends with the time it takes to think of a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Protocol

_STALE_S = 2.0  # for so long a status that contradicts the last granted request may still be older than it


class State(str, Enum):
    """Where the session stands. DONE: the target is reached, the last episode can still be undone."""

    READY = "READY"
    RECORDING = "RECORDING"
    ASKING = "ASKING"
    PAUSED = "PAUSED"
    DONE = "DONE"
    ENDED = "ENDED"


class Event(str, Enum):
    """What a key, pedal or button can mean."""

    START = "start"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAIL = "fail"
    DISCARD = "discard"
    REDO = "redo"
    UNDO = "undo"
    NOTE = "note"
    PAUSE = "pause"
    RESUME = "resume"
    GO_ON = "go_on"
    QUIT = "quit"


class Request(str, Enum):
    """What is asked of the recorder, by the name of its service."""

    START = "start"
    STOP = "stop"
    DISCARD = "discard"
    UNDO = "undo"


class Outcome(str, Enum):
    """What has happened, for the screen, the log and the ear."""

    STARTED = "started"
    SAVED = "saved"
    SAVED_PARTIAL = "saved, partly"
    SAVED_FAIL = "saved, failed"
    DISCARDED = "discarded"
    UNDONE = "undone"
    REFUSED = "refused"
    LOST = "not saved"
    ERROR = "recorder error"
    PAUSED = "paused"
    RESUMED = "resumed"
    ASKED = "quit?"
    COMPLETE = "complete"
    WARNING = "warning"


@dataclass(frozen=True)
class Step:
    """One cell of the table: requests in this order; `then` holds once all of them are granted."""

    label: str
    then: State
    requests: tuple[Request, ...] = ()
    score: float | None = None


@dataclass(frozen=True)
class Notice:
    """An outcome and its details in words."""

    outcome: Outcome
    text: str = ""


class RecorderStatus(Protocol):
    """The fields of hpt_ros/EpisodeStatus that the machine follows."""

    state: str
    reason: str
    path: str
    episodes_done: int


def _scores(then: State, suffix: str = "") -> dict[Event, Step]:
    labels = {Event.SUCCESS: ("success", 1.0), Event.PARTIAL: ("partly", 0.5), Event.FAIL: ("failed", 0.0)}
    return {event: Step(f"{name}{suffix}", then, (Request.STOP,), score) for event, (name, score) in labels.items()}


_UNDO = {
    Event.REDO: Step("redo the last", State.RECORDING, (Request.UNDO, Request.START)),
    Event.UNDO: Step("undo the last", State.READY, (Request.UNDO,)),
}
STEPS: Mapping[State, Mapping[Event, Step]] = MappingProxyType(
    {
        State.READY: {
            Event.START: Step("start", State.RECORDING, (Request.START,)),
            **_UNDO,
            Event.NOTE: Step("note for the next", State.READY),
            Event.PAUSE: Step("pause", State.PAUSED),
            Event.QUIT: Step("quit", State.ENDED),
        },
        State.RECORDING: {
            **_scores(State.READY),
            Event.DISCARD: Step("discard", State.READY, (Request.DISCARD,)),
            Event.REDO: Step("discard, start again", State.RECORDING, (Request.DISCARD, Request.START)),
            Event.NOTE: Step("note", State.RECORDING),
            Event.QUIT: Step("quit (asks)", State.ASKING),
        },
        State.ASKING: {
            Event.QUIT: Step("DISCARD this episode and quit", State.ENDED, (Request.DISCARD,)),
            **_scores(State.ENDED, ", save and quit"),
            Event.GO_ON: Step("go on recording", State.RECORDING),
        },
        State.PAUSED: {
            Event.RESUME: Step("resume", State.READY),
            Event.QUIT: Step("quit", State.ENDED),
        },
        State.DONE: {
            **_UNDO,
            Event.START: Step("record one more", State.RECORDING, (Request.START,)),
            Event.QUIT: Step("quit", State.ENDED),
        },
        State.ENDED: {},
    }
)
_AFTER = {
    Request.START: State.RECORDING,
    Request.STOP: State.READY,
    Request.DISCARD: State.READY,
    Request.UNDO: State.READY,
}
_SAVED = {1.0: Outcome.SAVED, 0.5: Outcome.SAVED_PARTIAL, 0.0: Outcome.SAVED_FAIL}
_MOVED = {
    (State.READY, State.PAUSED): Outcome.PAUSED,
    (State.PAUSED, State.READY): Outcome.RESUMED,
    (State.RECORDING, State.ASKING): Outcome.ASKED,
    (State.ASKING, State.RECORDING): Outcome.RESUMED,
}


class Operator:
    """Walks STEPS: one request at a time is on its way; the recorder's answers and status move it on.

    An episode counts in `done` when the recorder has acknowledged it: by the answer to `stop` with a path, or, where
    somebody else stopped it (a joystick), by its status.

    Args:
        done: complete episodes before the session.
        target: complete episodes to reach; 0: no target.
    """

    def __init__(self, done: int = 0, target: int = 0) -> None:
        self.done, self.target = done, target
        self.state = State.READY
        self.path = ""
        self.note = ""
        self._step: Step | None = None
        self._requests: tuple[Request, ...] = ()
        self._episodes_done: int | None = None  # of the recorder, as far as it is accounted for in `done`
        self._awaited_until_s: float | None = None
        self._error = ""

    @property
    def request(self) -> Request | None:
        """The request on its way, to be answered by `granted` or `refused`."""
        return self._requests[0] if self._requests else None

    @property
    def score(self) -> float:
        """Score of the `stop` on its way."""
        assert self._step is not None
        assert self._step.score is not None
        return self._step.score

    def press(self, event: Event) -> list[Notice]:
        """Take an event; nothing happens where the table has no such cell or a request is on its way."""
        step = STEPS[self.state].get(event)
        if step is None or self._requests:
            return []
        if step.requests:
            self._step, self._requests = step, step.requests
            return []
        before, self.state = self.state, step.then
        moved = _MOVED.get((before, self.state))
        return ([Notice(moved)] if moved else []) + self._rest()

    def granted(self, path: str, message: str, now_s: float) -> list[Notice]:
        """The recorder granted the request.

        Args:
            path: of the episode, for `start` and `stop`.
            message: the recorder's own words.
            now_s: monotonic clock.
        """
        request, step = self._requests[0], self._step
        assert step is not None
        if request is Request.STOP and not path:
            return self.refused(f"stop was granted without a path: {message}")
        outcome = self._account(request, step, path)
        self._awaited_until_s = now_s + _STALE_S
        self._requests = self._requests[1:]
        self.state = _AFTER[request] if self._requests else step.then
        return [Notice(outcome, path or message), *self._rest()]

    def refused(self, reason: str) -> list[Notice]:
        """The recorder refused the request, or did not answer: what was granted stays, the rest is not asked."""
        request = self._requests[0]
        self._requests = ()
        if self.state is State.ASKING:
            self.state = State.RECORDING
        return [Notice(Outcome.REFUSED, f"{request.value}: {reason}"), *self._rest()]

    def follow(self, status: RecorderStatus, now_s: float) -> list[Notice]:
        """Take the recorder's status: others may start and stop too, and a disk may end an episode.

        A status that contradicts the last grant is taken for an older one for 2 s, unless one that agrees was seen.
        """
        if self._requests or self.state is State.ENDED:
            return []
        recording = status.state == "RECORDING"
        if self._awaited_until_s is not None:
            if self._agrees(status, recording):
                self._awaited_until_s = None
            elif now_s < self._awaited_until_s:
                return []
        if self._episodes_done is None:
            self._episodes_done = status.episodes_done
        more = status.episodes_done - self._episodes_done
        self._episodes_done = status.episodes_done
        self.done += more
        notices = self._on_error(status) + self._on_recording(status, recording, more)
        return notices + self._rest() if notices or more else []

    def _agrees(self, status: RecorderStatus, recording: bool) -> bool:
        return (
            recording == (self.state in (State.RECORDING, State.ASKING))
            and status.episodes_done == self._episodes_done
            and (not recording or status.path == self.path)
        )

    def _on_error(self, status: RecorderStatus) -> list[Notice]:
        error = status.reason if status.state == "ERROR" else ""
        is_new, self._error = error not in ("", self._error), error
        return [Notice(Outcome.ERROR, error)] if is_new else []

    def _on_recording(self, status: RecorderStatus, recording: bool, more: int) -> list[Notice]:
        known = self.state in (State.RECORDING, State.ASKING)
        notices = [Notice(Outcome.SAVED, status.path)] * max(0, more) + [Notice(Outcome.UNDONE)] * max(0, -more)
        if recording and (not known or status.path != self.path):
            self.state, self.path = State.RECORDING, status.path
            notices.append(Notice(Outcome.STARTED, status.path))
        elif known and not recording:
            if more <= 0:
                notices.append(Notice(Outcome.LOST, status.reason or self.path))
            elif status.reason:  # the recorder ended and kept it by itself
                notices.append(Notice(Outcome.WARNING, status.reason))
            self.state, self.note = State.READY, ""
        return notices

    def _account(self, request: Request, step: Step, path: str) -> Outcome:
        more = {Request.STOP: 1, Request.UNDO: -1}.get(request, 0)
        self.done += more
        if self._episodes_done is not None:
            self._episodes_done += more
        if request is Request.START:
            self.path = path
            return Outcome.STARTED
        if request is Request.UNDO:
            return Outcome.UNDONE
        self.note = ""
        return Outcome.DISCARDED if step.score is None else _SAVED[step.score]

    def _rest(self) -> list[Notice]:
        """READY and DONE are told apart by the count alone."""
        if self._requests or self.state not in (State.READY, State.DONE):
            return []
        before = self.state
        self.state = State.DONE if 0 < self.target <= self.done else State.READY
        return [Notice(Outcome.COMPLETE)] if self.state is State.DONE and before is State.READY else []
