"""A person's trials: keys in, the arm started and stopped, scores asked for, each row on the disk before the next trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from hpt_ros.cli.evaluate_panel import TrialView, trial_line, trial_screen
from hpt_ros.cli.keys import END, SUSPEND, TERMINATE, Keys, open_keys
from hpt_ros.cli.output import console
from hpt_ros.cli.record_panel import Display, open_display
from hpt_ros.errors import HptRosError, StreamError
from hpt_ros.evaluation.order import PlannedTrial, missing
from hpt_ros.evaluation.protocol import STEPS, Effect, Protocol, State, Step
from hpt_ros.evaluation.trials import TrialLog
from hpt_ros.nodes.film import SceneView
from hpt_ros.nodes.trial_runner import TrialRunner
from hpt_ros.recording.cues import CueKind, Cues
from hpt_ros.recording.operator import Event, Outcome
from hpt_ros.recording.operator_keys import INTERRUPT, KeyBindings, meanings

_TICK_S = 0.05
_PREPARING = "preparing"
_QUIT = Step("quit", State.ENDED)
_STOPPING = (Event.DISCARD, Event.REDO, Event.FAIL, Event.QUIT)
_CUES = {1.0: Outcome.SAVED, 0.5: Outcome.SAVED_PARTIAL, 0.0: Outcome.SAVED_FAIL}


@dataclass(frozen=True)
class Conduct:
    """How trials are run. `blinded`: the policy is started anew for each, whether it is another one or not."""

    bindings: KeyBindings
    cue: CueKind
    blinded: bool
    homes: bool


class PersonTrials:
    """Trials until all that are planned are done, or the person quits.

    One thing is asked of the nodes at a time, in a worker, so that keys and screen never wait; the arm is stopped by a key
    pressed while it is being started, too.
    """

    def __init__(
        self,
        runner: TrialRunner,
        log: TrialLog,
        planned: Sequence[PlannedTrial],
        conduct: Conduct,
        scene: SceneView,
        check: Callable[[], object],
    ) -> None:
        self._runner, self._log, self._planned = runner, log, planned
        self._conduct, self._scene, self._check = conduct, scene, check
        self._events: Mapping[tuple[State, str], Event] = meanings(conduct.bindings.by_event(), STEPS)
        self._protocol = Protocol()
        self._trial = self._pending()[0]
        self._worker = ThreadPoolExecutor(1, "trial")
        self._job: tuple[str, Future[str], Callable[[str], None]] | None = None
        self._alert = ""
        self._is_typing = self._stop_wanted = self._is_interrupted = False
        self._keys: Keys
        self._display: Display
        self._cues: Cues

    def run(self) -> None:
        """Raises KeyboardInterrupt after Ctrl-C or a signal; the arm is let go of before."""
        with ExitStack() as stack:
            self._cues = stack.enter_context(Cues(self._conduct.cue, console.bell))
            self._keys = stack.enter_context(open_keys())
            self._display = stack.enter_context(open_display(trial_screen, trial_line))
            stack.callback(self._worker.shutdown)
            stack.callback(self._let_go)
            self._prepare()
            while self._protocol.state is not State.ENDED:
                self._tick()
        if self._is_interrupted:
            raise KeyboardInterrupt

    def _tick(self) -> None:
        self._check()
        self._take_result()
        if self._protocol.state is State.RUNNING and self._job is None and (ended := self._runner.look()):
            self._cues.play(Outcome.WARNING)
            self._do("stopping", self._runner.stop, lambda _: self._protocol.ended(ended))
        for key in self._read():
            self._on_key(key)
        self._display.show(self._view())

    # Keys

    def _read(self) -> list[str]:
        if self._is_typing:
            if (line := self._keys.read_line(_TICK_S)) is not None:
                self._is_typing, self._protocol.note = False, line
                self._keys.end_line()
                self._display.resume()
            return []
        if self._job is not None and not self._keys.interactive:  # a line waits until the one before is done
            time.sleep(_TICK_S)
            return []
        return self._keys.read(_TICK_S)

    def _on_key(self, key: str) -> None:
        state = self._protocol.state
        if key == SUSPEND:
            self._display.pause()
            self._keys.suspend()
            self._display.resume()
        elif key in (INTERRUPT, TERMINATE, END):
            self._is_interrupted = key != END
            self._protocol.take(_QUIT)
        elif self._job is not None:
            self._on_early_key(key)
        elif event := self._events.get((state, key)):
            self._press(event)
        else:
            self._display.say(f"{key!r} means nothing now")

    def _on_early_key(self, key: str) -> None:
        """A key while something is being done: it stops an arm that is being started, and ends what has not begun."""
        if self._protocol.state is State.READY and self._events.get((State.RUNNING, key)) in _STOPPING:
            self._stop_wanted = True
        elif self._events.get((self._protocol.state, key)) is Event.QUIT:
            self._protocol.take(_QUIT)
        else:
            self._display.say(f"{key}: ignored until this is done: {self._job[0] if self._job else ''}")

    def _press(self, event: Event) -> None:
        step = self._protocol.step(event)
        assert step is not None, "only events of the table are pressed"
        if event is Event.NOTE:
            self._display.pause()
            self._display.say("note, then Enter:")
            self._keys.begin_line()
            self._is_typing = True
        elif Effect.UNDO in step.effects and not self._log.trials:
            self._display.say("there is no score to take back", bad=True)
        else:
            self._stop_wanted = False
            self._protocol.intend(step)
            self._do(step.label, partial(self._effects, step.effects), lambda warning: self._taken(step, warning))

    # What is done in the worker

    def _do(self, label: str, work: Callable[[], object], then: Callable[[str], None]) -> None:
        self._job = (label, self._worker.submit(lambda: str(work() or "")), then)

    def _effects(self, effects: Sequence[Effect]) -> str:
        return "".join([self._effect(effect) or "" for effect in effects])

    def _effect(self, effect: Effect) -> str | None:
        """Do it; a warning, or nothing."""
        runner = self._runner
        if effect is Effect.START:
            self._scene.take()
            runner.start(self._trial)
        elif effect is Effect.STOP:
            runner.stop()
        elif effect is Effect.SAVE:
            return self._save()
        elif effect is Effect.DROP:
            runner.drop()
        elif effect is Effect.UNDO:
            self._log.take_back(self._log.trials[-1])
        elif runner.session.latest["commander"].state == "FAULT":
            runner.session.trigger("/hpt_ros/commander/reset")
        return None

    def _save(self) -> str | None:
        """First the row, then the bag: a bag that fails takes no score along."""
        protocol = self._protocol
        assert protocol.score is not None, "only steps with a score save"
        trial = self._runner.row(self._trial, protocol.score, protocol.termination, protocol.note)
        self._log.append(trial)
        try:
            self._runner.keep(trial)
        except StreamError as error:
            return f"the score is kept, the bag is not complete: {error.message}"
        return None

    def _take_result(self) -> None:
        if self._job is None or not self._job[1].done():
            return
        (label, future, then), self._job = self._job, None
        try:
            text = future.result()
        except HptRosError as error:
            self._alert = f"{label}: {error.message}"
            self._display.say(f"{label}: {error}", bad=True)
            self._cues.play(Outcome.REFUSED)
            if label == _PREPARING:
                self._protocol.blocked()
            return
        self._alert = text
        then(text)

    def _taken(self, step: Step, warning: str) -> None:
        self._protocol.take(step)
        if warning:
            self._display.say(warning, bad=True)
        if step.score is not None:
            self._cues.play(_CUES[step.score])
            self._display.say(f"trial {self._trial.index + 1}: {step.label}")
        if step.then is State.RUNNING:
            self._cues.play(Outcome.STARTED)
            if self._stop_wanted:
                self._press(Event.QUIT)
        elif step.then is State.PREPARING:
            self._next()

    def _next(self) -> None:
        if pending := self._pending():
            self._trial = pending[0]
            self._prepare()
        else:
            self._cues.play(Outcome.COMPLETE)
            self._protocol.take(_QUIT)

    def _pending(self) -> list[PlannedTrial]:
        return missing(self._planned, [trial.index for trial in self._log.trials])

    def _prepare(self) -> None:
        self._protocol.begin()
        self._do(_PREPARING, self._prepared, self._on_prepared)

    def _prepared(self) -> str:
        """Why the arm cannot be started, empty if it can."""
        runner = self._runner
        commander = runner.session.latest["commander"]
        if commander.state == "FAULT":
            return f"fault: {commander.reason}"
        runner.load(self._trial, always=self._conduct.blinded)
        if self._conduct.homes:
            runner.home()
        runner.wait_for_policy()
        self._scene.show(self._trial.block, f"{runner.setup.task}, trial {self._trial.index + 1}: restore this scene")
        return ""

    def _on_prepared(self, fault: str) -> None:
        if fault:
            self._cues.play(Outcome.ERROR)
            self._protocol.blocked()
        else:
            self._protocol.prepared()

    def _let_go(self) -> None:
        """Nothing goes on without the person."""
        if self._job is not None:
            with suppress(HptRosError):
                self._job[1].result()
        with suppress(HptRosError):
            self._runner.abandon()

    def _view(self) -> TrialView:
        runner, protocol = self._runner, self._protocol
        commander = runner.session.latest["commander"]
        running = protocol.state is State.RUNNING
        keys = self._conduct.bindings.by_event()
        return TrialView(
            task=runner.setup.task,
            person=runner.setup.operator,
            state=protocol.state,
            number=self._trial.index + 1,
            total=len(self._planned),
            done=len(self._log.trials),
            keys=[
                (" ".join(keys[event]), step.label) for event, step in STEPS[protocol.state].items() if keys.get(event)
            ],
            commander=f"{commander.state} {commander.reason}",
            scene=str(self._scene.page),
            waiting=self._job[0] if self._job else "",
            termination=protocol.termination,
            note=protocol.note,
            alert=self._alert,
            elapsed_s=int(runner.elapsed_s) if running else None,
            timeout_s=runner.setup.timeout_s,
        )
