"""The loop over steps: when to validate, save and report."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from hpt_ros.training.config import FinetuneConfig
from hpt_ros.training.learner import Learner
from hpt_ros.training.run_folder import RunFolder
from hpt_ros.training.windows import Windows

LOSS_OVER_STEPS = 20  # a reported training loss is the mean over so many steps
LOG_EVERY_STEPS = 10


@dataclass(frozen=True)
class StepReport:
    """Where training stands after `step` of `steps`; losses in normalised units, `val_loss` the newest that was measured."""

    step: int
    steps: int
    loss: float
    val_loss: float | None
    lr: float
    samples_per_s: float
    eta_s: float


@dataclass(frozen=True)
class Outcome:
    """The end of a run; `best_step` is when the checkpoint `best` was saved."""

    steps: int
    loss: float
    val_loss: float | None
    best_step: int
    best_val_loss: float | None
    duration_s: float
    samples_per_s: float


Progress = Callable[[StepReport], None]
Save = Callable[[str, Mapping[str, Any]], None]


def run_steps(
    config: FinetuneConfig, learner: Learner, unseen: Windows, folder: RunFolder, save: Save, progress: Progress
) -> Outcome:
    """Take all steps; `save(name, metrics)` writes a checkpoint.

    Raises:
        DivergedError: a loss that is not finite; the checkpoints saved so far stay.
    """
    began = time.monotonic()
    recent: deque[float] = deque(maxlen=LOSS_OVER_STEPS)
    best_step, best_val_loss = 0, math.inf
    val_loss: float | None = None
    for step in range(1, config.steps + 1):
        lr = learner.lr
        recent.append(learner.step())
        due = step % config.validation.every_steps == 0 or step == config.steps
        if due and len(unseen):
            val_loss = learner.validate(unseen)
        elapsed_s = time.monotonic() - began
        report = StepReport(
            step=step,
            steps=config.steps,
            loss=fmean(recent),
            val_loss=val_loss,
            lr=lr,
            samples_per_s=step * config.batch_size / elapsed_s,
            eta_s=elapsed_s / step * (config.steps - step),
        )
        if due:
            metrics = {"step": step, "loss": report.loss, "val_loss": val_loss}
            save("last", metrics)
            if val_loss is None or val_loss < best_val_loss:
                best_step, best_val_loss = step, math.inf if val_loss is None else val_loss
                save("best", metrics)
        if due or step % LOG_EVERY_STEPS == 0:
            folder.log_metrics(asdict(report) | {"val_loss": val_loss if due else None})
        progress(report)
    return Outcome(
        steps=report.steps,
        loss=report.loss,
        val_loss=report.val_loss,
        best_step=best_step,
        best_val_loss=best_val_loss if math.isfinite(best_val_loss) else None,
        duration_s=time.monotonic() - began,
        samples_per_s=report.samples_per_s,
    )
