"""Where a run's curves go besides metrics.jsonl: TensorBoard and Weights & Biases, where they are installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hpt_ros.errors import MissingDependencyError
from hpt_ros.training.loop import LOG_EVERY_STEPS, Progress, StepReport
from hpt_ros.training.run_folder import RunFolder


class Tracker(Protocol):
    """Takes figures by name, step after step."""

    def log(self, step: int, figures: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    """Event files in `folder`; of an earlier run there, what came after `first_step` is hidden.

    Raises:
        MissingDependencyError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        module = _required("tensorboardX", "--tensorboard", "tensorboard")
        self._writer = module.SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of `project`; a run that goes on is the same one there.

    Raises:
        MissingDependencyError: wandb is not installed.
    """

    def __init__(self, project: str, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        module = _required("wandb", "--wandb", "wandb")
        self._run = module.init(project=project, name=name, id=name, resume="allow", dir=folder, config=dict(settings))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


@dataclass(frozen=True)
class Tracking:
    """`tensorboard`: event files in the run's folder `tensorboard`; `wandb`: a project there."""

    tensorboard: bool = False
    wandb: str = ""

    def require(self) -> None:
        """Raise MissingDependencyError for one that is asked for and not installed."""
        if self.tensorboard:
            _required("tensorboardX", "--tensorboard", "tensorboard")
        if self.wandb:
            _required("wandb", "--wandb", "wandb")

    @contextmanager
    def opened(self, folder: RunFolder, settings: Mapping[str, Any], done: int) -> Iterator[Progress]:
        """What takes the reports of a run that has `done` so many steps; closed at the end."""
        trackers: list[Tracker] = []
        if self.tensorboard:
            trackers.append(TensorBoard(folder.path / "tensorboard", done))
        if self.wandb:
            trackers.append(WeightsAndBiases(self.wandb, folder.out.name, folder.path, settings))

        def track(report: StepReport) -> None:
            if trackers and (report.step % LOG_EVERY_STEPS == 0 or report.step == report.steps):
                for tracker in trackers:
                    tracker.log(report.step, figures(report))

        try:
            yield track
        finally:
            for tracker in trackers:
                tracker.close()


NO_TRACKING = Tracking()


def both(first: Progress, second: Progress) -> Progress:
    """Tell two."""

    def tell(report: StepReport) -> None:
        first(report)
        second(report)

    return tell


def figures(report: StepReport) -> dict[str, float]:
    """What a report says, by the names under which it is drawn."""
    found = {
        "loss/training": report.loss,
        "learning_rate": report.lr,
        "gradient_norm": report.grad_norm,
        "samples_per_s": report.samples_per_s,
        **{f"time_share/{phase}": share for phase, share in report.phases.items()},
    }
    if report.val_loss is not None:
        found["loss/held_out"] = report.val_loss
    return found | {f"error/{name}": error for name, error in report.val_error.items()}


def _required(module: str, option: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{option} needs {module}: {error}", f"pip install {module} (or hpt_ros[{extra}])"
        ) from error
