"""What a person at the robot may do during trials: a table, and the machine that walks it. The keys are those of recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from hpt_ros.evaluation.watch import OPERATOR
from hpt_ros.recording.operator import Event


class State(str, Enum):
    """Where the trials stand. PREPARING: policy and arm are on their way to the start; BLOCKED: something needs a person first."""

    PREPARING = "PREPARING"
    READY = "READY"
    RUNNING = "RUNNING"
    SCORING = "SCORING"
    BLOCKED = "BLOCKED"
    ENDED = "ENDED"


class Effect(str, Enum):
    """What is to be done, in this order, for a step to be taken."""

    START = "start the recorder, engage"
    STOP = "let go of the arm"
    SAVE = "write the row, complete the bag"
    DROP = "discard the bag"
    UNDO = "take the last row back"
    RESET = "reset a fault"


@dataclass(frozen=True)
class Step:
    """One cell of the table."""

    label: str
    then: State
    effects: tuple[Effect, ...] = ()
    score: float | None = None


def _scores(*before: Effect) -> dict[Event, Step]:
    labels = {Event.SUCCESS: ("success", 1.0), Event.PARTIAL: ("partly", 0.5), Event.FAIL: ("failed", 0.0)}
    effects = (*before, Effect.SAVE)
    return {event: Step(name, State.PREPARING, effects, score) for event, (name, score) in labels.items()}


def _again(*before: Effect) -> dict[Event, Step]:
    step = Step("discard, run it again", State.PREPARING, (*before, Effect.DROP))
    return {Event.DISCARD: step, Event.REDO: step}


_UNDO = Step("take the last score back, run that trial again", State.PREPARING, (Effect.UNDO,))
STEPS: Mapping[State, Mapping[Event, Step]] = MappingProxyType(
    {
        State.PREPARING: {Event.QUIT: Step("quit", State.ENDED)},
        State.READY: {
            Event.START: Step("start the arm", State.RUNNING, (Effect.START,)),
            Event.UNDO: _UNDO,
            Event.REDO: _UNDO,
            Event.NOTE: Step("note", State.READY),
            Event.QUIT: Step("quit", State.ENDED),
        },
        State.RUNNING: {
            **_scores(Effect.STOP),
            **_again(Effect.STOP),
            Event.NOTE: Step("note", State.RUNNING),
            Event.QUIT: Step("stop the arm", State.SCORING, (Effect.STOP,)),
        },
        State.SCORING: {**_scores(), **_again(), Event.NOTE: Step("note", State.SCORING)},
        State.BLOCKED: {
            Event.RESUME: Step("reset a fault, try again", State.PREPARING, (Effect.RESET,)),
            Event.QUIT: Step("quit", State.ENDED),
        },
        State.ENDED: {},
    }
)


class Protocol:
    """Walks STEPS through one trial after the other.

    `score`, `termination` and `note` are those of the trial at hand.
    """

    def __init__(self) -> None:
        self.state = State.PREPARING
        self.score: float | None = None
        self.termination = ""
        self.note = ""

    def begin(self) -> None:
        """The next trial, or the same again."""
        self.state, self.score, self.termination, self.note = State.PREPARING, None, "", ""

    def prepared(self) -> None:
        """Policy and arm stand at the start."""
        self.state = State.READY

    def blocked(self) -> None:
        """The arm is in a fault that only a person resets, or does not come to its start."""
        self.state = State.BLOCKED

    def step(self, event: Event) -> Step | None:
        """What an event means now; None: nothing. `intend` it, do what it says, and `take` it."""
        return STEPS[self.state].get(event)

    def intend(self, step: Step) -> None:
        """Score and termination are those of the step from now on."""
        self.score = step.score
        if self.state is State.RUNNING and step.then is not State.RUNNING:
            self.termination = OPERATOR

    def take(self, step: Step) -> None:
        """The effects of the step are done."""
        self.state = step.then

    def ended(self, termination: str) -> None:
        """The trial ended without a key: time-out, fault, a hold, or the start guard. The arm was let go of; the score is asked for."""
        self.state, self.termination = State.SCORING, termination
