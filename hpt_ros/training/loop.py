"""The loop over steps: when to validate, save and report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any, Protocol

from torch import Tensor

from hpt_ros.training.config import ValidationConfig
from hpt_ros.training.learner import DivergedError, Step, Validation
from hpt_ros.training.run_folder import RunFolder

LOSS_OVER_STEPS = 20  # a reported training loss is the mean over so many steps
LOG_EVERY_STEPS = 10


class Settings(Protocol):
    """What the loop reads of a run's configuration."""

    @property
    def steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def validation(self) -> ValidationConfig: ...
    @property
    def state_every_s(self) -> float: ...


class Trainee(Protocol):
    """What the loop drives: `hpt_ros.training.learner.Learner`, or another that is trained step by step.

    After `load_state` with the tensors that `state` gave after `steps_done` steps, the next steps are bit for bit those
    that would have followed.
    """

    @property
    def steps_done(self) -> int: ...
    @property
    def lr(self) -> float: ...
    def step(self) -> Step: ...
    def validate(self) -> Validation | None: ...
    def state(self) -> dict[str, Tensor]: ...
    def load_state(self, tensors: Mapping[str, Tensor], steps_done: int) -> None: ...


@dataclass(frozen=True)
class StepReport:
    """Where training stands after `step` of `steps`.

    Losses in normalised units; `val_loss` and `val_error` (mean absolute error by action column [rad or m]) are the newest
    that were measured. `phases`: share of the time since the run began or went on.
    """

    step: int
    steps: int
    loss: float
    val_loss: float | None
    lr: float
    samples_per_s: float
    eta_s: float
    grad_norm: float = 0.0
    val_error: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The end of a run; `best_step` is when the checkpoint `best` was saved, `stopped_early` whether patience ended it."""

    steps: int
    loss: float
    val_loss: float | None
    best_step: int
    best_val_loss: float | None
    duration_s: float
    samples_per_s: float
    stopped_early: bool = False
    val_error: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)


Progress = Callable[[StepReport], None]
Save = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Track:
    """What the loop itself remembers from step to step; plain data, kept with the state of the run."""

    step: int = 0
    recent: Sequence[float] = ()
    best_step: int = 0
    best_val_loss: float | None = None
    val_loss: float | None = None
    val_error: Mapping[str, float] = field(default_factory=dict)
    without_gain: int = 0
    elapsed_s: float = 0.0

    def stepped(self, step: Step, elapsed_s: float) -> Track:
        """After one more step."""
        recent = (*self.recent, step.loss)[-LOSS_OVER_STEPS:]
        return replace(self, step=self.step + 1, recent=recent, elapsed_s=elapsed_s)

    def validated(self, found: Validation) -> Track:
        """After a validation."""
        better = self.best_val_loss is None or found.loss < self.best_val_loss
        best = {"best_step": self.step, "best_val_loss": found.loss, "without_gain": 0}
        kept = {"without_gain": self.without_gain + 1}
        changes: dict[str, Any] = best if better else kept
        return replace(self, val_loss=found.loss, val_error=found.columns, **changes)

    @property
    def loss(self) -> float:
        """Mean over the last steps."""
        return fmean(self.recent) if self.recent else math.nan


def run_steps(settings: Settings, trainee: Trainee, folder: RunFolder, save: Save, progress: Progress) -> Outcome:
    """Take all steps that are left; `save(name, metrics)` writes a checkpoint.

    Raises:
        DivergedError: a loss that is not finite; the state before that step is kept, and saved as `last`.
    """
    return _Run(settings, trainee, folder, save, progress).run()


class _Run:
    def __init__(self, settings: Settings, trainee: Trainee, folder: RunFolder, save: Save, progress: Progress) -> None:
        self._settings, self._trainee, self._folder = settings, trainee, folder
        self._save, self._progress = save, progress
        self._track = Track()
        if folder.saved is not None:
            self._track = Track(**folder.saved.track)
            trainee.load_state(folder.saved.tensors, self._track.step)
        self._first = self._track.step
        self._began_s = time.monotonic()
        self._earlier_s = self._track.elapsed_s
        # the first state at once: from then on another setting or other data cannot take the place of this run unasked
        self._stored_s = self._began_s if folder.saved is not None else -math.inf
        self._seconds: dict[str, float] = {}

    def run(self) -> Outcome:
        while self._track.step < self._settings.steps and not self._out_of_patience():
            self._one_step()
        track = self._track
        return Outcome(
            steps=track.step,
            loss=track.loss,
            val_loss=track.val_loss,
            best_step=track.best_step,
            best_val_loss=track.best_val_loss,
            duration_s=track.elapsed_s,
            samples_per_s=track.step * self._settings.batch_size / max(track.elapsed_s, 1e-9),
            stopped_early=self._out_of_patience(),
            val_error=track.val_error,
            phases=self._phases(),
        )

    def _out_of_patience(self) -> bool:
        return 0 < self._settings.validation.patience <= self._track.without_gain

    def _one_step(self) -> None:
        settings, lr = self._settings, self._trainee.lr
        try:
            step = self._trainee.step()
        except DivergedError:
            self._save("last", self._metrics())
            self._store()
            raise
        for phase, seconds in step.seconds.items():
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds
        self._track = self._track.stepped(step, self._elapsed_s())
        due = self._track.step % settings.validation.every_steps == 0 or self._track.step == settings.steps
        if due:
            self._validate()
        report = self._report(step, lr)
        if due or self._track.step % LOG_EVERY_STEPS == 0:
            measured: dict[str, Any] = {} if due else {"val_loss": None, "val_error": {}}
            self._folder.log_metrics(asdict(report) | measured)
        self._progress(report)
        if self._folder.agreed(time.monotonic() - self._stored_s >= settings.state_every_s):
            self._store()

    def _validate(self) -> None:
        found = self._trainee.validate()
        if found is not None:
            self._track = self._track.validated(found)
        metrics = self._metrics()
        self._save("last", metrics)
        if found is None:
            self._track = replace(self._track, best_step=self._track.step)
        if self._track.best_step == self._track.step:
            self._save("best", metrics)

    def _metrics(self) -> dict[str, Any]:
        track = self._track
        loss = track.loss if track.recent else None
        return {"step": track.step, "loss": loss, "val_loss": track.val_loss, "val_error": dict(track.val_error)}

    def _report(self, step: Step, lr: float) -> StepReport:
        track, settings = self._track, self._settings
        taken, taken_s = track.step - self._first, track.elapsed_s - self._earlier_s
        return StepReport(
            step=track.step,
            steps=settings.steps,
            loss=track.loss,
            val_loss=track.val_loss,
            lr=lr,
            samples_per_s=taken * settings.batch_size / taken_s,
            eta_s=taken_s / taken * (settings.steps - track.step),
            grad_norm=step.grad_norm,
            val_error=track.val_error,
            phases=self._phases(),
        )

    def _phases(self) -> dict[str, float]:
        total = sum(self._seconds.values())
        return {phase: round(seconds / total, 4) for phase, seconds in self._seconds.items()} if total else {}

    def _elapsed_s(self) -> float:
        return self._earlier_s + time.monotonic() - self._began_s

    def _store(self) -> None:
        self._folder.save_state(self._trainee.state(), asdict(self._track))
        self._stored_s = time.monotonic()
