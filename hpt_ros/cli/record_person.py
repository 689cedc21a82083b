"""A person's recording session: keys in, requests to the recorder, its answers and status on the screen and in the ear."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from hpt_ros.cli.keys import END, SUSPEND, TERMINATE, Keys, open_keys
from hpt_ros.cli.output import console
from hpt_ros.cli.record_calls import Calls, Guard, Job
from hpt_ros.cli.record_panel import BAD, Display, View, open_display
from hpt_ros.errors import HptRosError, StreamError
from hpt_ros.msg import EpisodeStatus
from hpt_ros.nodes.runtime import RELIABLE_10
from hpt_ros.nodes.session import Session
from hpt_ros.recording.cues import CueKind, Cues
from hpt_ros.recording.operator import Event, Notice, Operator, Outcome, State
from hpt_ros.recording.operator_keys import INTERRUPT, KeyBindings, legend, meanings
from hpt_ros.recording.operator_pace import Pace

MAX_SILENCE_S = 2.0  # of the recorder's status, which comes at 2 Hz
_TICK_S = 0.05
_SAVED = (Outcome.SAVED, Outcome.SAVED_PARTIAL, Outcome.SAVED_FAIL)


@dataclass(frozen=True)
class Hands:
    """How the person acts and hears; `prepare` is called before each start, e.g. to reset a simulated scene, and says what
    the episode's note begins with."""

    bindings: KeyBindings
    cue: CueKind
    prepare: Callable[[], str]


def record_person(session: Session, job: Job, done: int, hands: Hands, guard: Guard) -> int:
    """A person's session until it is quit; returns how many complete episodes there are then.

    Args:
        session: checks `guard` while it waits.
        done: complete episodes before it.

    Raises:
        StreamError, KeyboardInterrupt: see `Recording.run`.
    """
    with (
        Calls(session, job, guard, hands.prepare) as calls,
        Cues(hands.cue, console.bell) as cues,
        open_keys() as keys,
        open_display() as display,
    ):
        recording = Recording(job, done, calls, keys, hands.bindings, display, cues)
        recording.run(session, guard)
        return recording.operator.done


class Recording:
    """One session: everything that happens is told once, on the screen and as a cue.

    Args:
        done: complete episodes of the task before the session.
    """

    def __init__(
        self, job: Job, done: int, calls: Calls, keys: Keys, bindings: KeyBindings, display: Display, cues: Cues
    ) -> None:
        self.operator = Operator(done, job.target)
        self._job, self._calls, self._keys, self._display, self._cues = job, calls, keys, display, cues
        self._bindings = bindings
        self._events: Mapping[tuple[State, str], Event] = meanings(bindings.by_event())
        self._statuses: SimpleQueue[Any] = SimpleQueue()
        self._status: Any = None
        self._warnings: frozenset[str] = frozenset()
        self._heard_s = self._ticked_s = time.monotonic()
        self._pace = Pace(self._heard_s)
        self._alert = ""
        self._is_typing = self._quits = self._is_interrupted = self._is_elsewhere = False

    def run(self, session: Session, guard: Guard) -> None:
        """Until the person quits.

        Raises:
            StreamError: the recorder is gone, or the input ended while an episode was being recorded.
            KeyboardInterrupt: ended by Ctrl-C or a signal; an episode that is being recorded goes on.
        """
        self._status = session.wait_for_status("recorder")
        session.node.create_subscription(EpisodeStatus, "/hpt_ros/recorder/status", self._statuses.put, RELIABLE_10)
        self._heard_s = self._ticked_s = time.monotonic()
        try:
            while self.operator.state is not State.ENDED:
                self._tick(guard)
        finally:
            if self.operator.state in (State.RECORDING, State.ASKING):
                self._display.say(
                    f"{self.operator.path} was not stopped: while the recorder runs, hpt-ros record joins it", bad=True
                )
        if self._is_interrupted:
            raise KeyboardInterrupt

    def _tick(self, guard: Guard) -> None:
        guard.check()
        self._take_statuses()
        self._take_answer()
        self._watch()
        for key in self._read():
            self._on_key(key)
        if self._quits and not self.operator.request:  # Ctrl-C is not lost while an answer is waited for
            self._quits = False
            self._press(Event.QUIT)
        self._send()
        self._display.show(self._view())

    def _read(self) -> list[str]:
        if self._is_typing:
            if (line := self._keys.read_line(_TICK_S)) is not None:
                self._end_note(line)
            return []
        if self._calls.is_open and not self._keys.interactive:  # a line waits for the answer to the one before
            time.sleep(_TICK_S)
            return []
        return self._keys.read(_TICK_S)

    def _take_statuses(self) -> None:
        now_s = time.monotonic()
        try:
            while True:
                self._status = self._statuses.get_nowait()
                self._heard_s = now_s
                self._tell(self.operator.follow(self._status, now_s))
        except Empty:
            self._tell(self.operator.follow(self._status, now_s))  # what came while a request was on its way
        warnings = {" ".join(text.split()[:2]): text for text in self._status.warnings}  # TOPIC: slow, without figures
        self._tell([Notice(Outcome.WARNING, text) for what, text in warnings.items() if what not in self._warnings])
        self._warnings = frozenset(warnings)

    def _take_answer(self) -> None:
        try:
            answer = self._calls.take()
        except HptRosError as error:
            self._tell(self.operator.refused(str(error)))
            return
        if answer is not None:
            self._tell(self.operator.granted(*answer, time.monotonic()))

    def _send(self) -> None:
        if not self._calls.is_open and (request := self.operator.request):
            missing = self._job.target - self.operator.done
            self._calls.send(request, self.operator, missing + self._status.episodes_done)

    def _watch(self) -> None:
        """Stop when the recorder is silent; what this process slept itself (Ctrl-Z) is no silence."""
        now_s = time.monotonic()
        if now_s - self._ticked_s > MAX_SILENCE_S / 2:
            self._heard_s = now_s
        self._ticked_s = now_s
        if now_s - self._heard_s > MAX_SILENCE_S and not self._calls.is_open:
            self._cues.play(Outcome.ERROR)
            raise StreamError(
                f"THE RECORDER IS GONE: no status for {MAX_SILENCE_S:g} s; {self.operator.done} episodes are saved",
                "see its log and start it again; an episode that was being recorded goes to quarantine",
            )

    def _on_key(self, key: str) -> None:
        state = self.operator.state
        if key == TERMINATE or (key == INTERRUPT and state is State.ASKING):  # Ctrl-C in haste never discards
            raise KeyboardInterrupt
        if key == SUSPEND:
            self._display.pause()
            self._keys.suspend()
            self._display.resume()
        elif key == END:
            self._on_end_of_input()
        elif key == INTERRUPT:
            self._quits = self._is_interrupted = True
        elif self.operator.request:
            self._display.say(f"{key}: ignored, the recorder has not answered {self.operator.request.value} yet")
        elif event := self._events.get((state, key)):
            self._press(event)
        elif state is State.ASKING:
            self._press(Event.GO_ON)
        else:
            self._display.say(f"{key!r} means nothing now")

    def _press(self, event: Event) -> None:
        before = self.operator.state
        if event in (Event.UNDO, Event.REDO) and before is not State.RECORDING and self._is_of_other_task():
            self._tell([Notice(Outcome.REFUSED, f"{event.value}: {self._status.path} is not of task {self._job.task}")])
            return
        if event is Event.NOTE:
            self._begin_note()
        elif event is not Event.QUIT:
            self._is_interrupted = False
        self._tell(self.operator.press(event))
        if before is State.PAUSED:
            self._pace.resumed(time.monotonic())

    def _on_end_of_input(self) -> None:
        if self.operator.state in (State.RECORDING, State.ASKING):
            raise StreamError(
                "the input ended while an episode was being recorded", "run the command again to score it"
            )
        self._press(Event.QUIT)

    def _begin_note(self) -> None:
        self._display.pause()
        running = " (the episode runs on)" if self.operator.state is State.RECORDING else ""
        self._display.say(f"note, then Enter{running}:")
        self._keys.begin_line()
        self._is_typing = True

    def _end_note(self, line: str) -> None:
        self._is_typing = False
        self.operator.note = line
        self._keys.end_line()
        self._display.resume()

    def _tell(self, notices: list[Notice]) -> None:
        for notice in notices:
            text = f"{notice.outcome.value}: {notice.text}" if notice.text else notice.outcome.value
            if notice.outcome is not Outcome.WARNING:  # those that hold stand on the screen by themselves
                self._alert = text if notice.outcome in BAD else ""
            self._display.say(text, bad=notice.outcome in BAD)
            self._cues.play(notice.outcome)
            if notice.outcome in _SAVED:
                self._pace.saved(time.monotonic())
            elif notice.outcome is Outcome.STARTED:
                self._compare_folders(Path(notice.text).parent)

    def _is_of_other_task(self) -> bool:
        return Path(self._status.path).parent.name not in ("", self._job.task)

    def _compare_folders(self, folder: Path) -> None:
        if not self._is_elsewhere and folder.resolve() != self._job.folder.resolve():
            self._is_elsewhere = True
            self._display.say(
                f"the recorder writes to {folder}, not to {self._job.folder}: older episodes there do not count",
                bad=True,
            )

    def _view(self) -> View:
        operator, job = self.operator, self._job
        silent_s = time.monotonic() - self._heard_s
        return View(
            task=job.task,
            instruction=job.instruction,
            person=job.person,
            state=operator.state,
            done=operator.done,
            target=operator.target,
            status=self._status,
            keys=legend(operator.state, self._bindings),
            note=operator.note,
            waiting=operator.request.value if operator.request else "",
            alert=self._alert,
            left_s=self._pace.left_s(operator.target - operator.done),
            silent_s=silent_s if silent_s > MAX_SILENCE_S else 0.0,
        )
