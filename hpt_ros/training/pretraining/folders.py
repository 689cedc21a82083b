"""The run folder as each worker sees it: rank 0 writes, the others only agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from hpt_ros.training.pretraining.learner import PretrainLearner
from hpt_ros.training.run_folder import RunFolder


class PretrainFolder(RunFolder):
    """A run folder whose lines in metrics.jsonl also have the losses of each domain."""

    learner: PretrainLearner | None = None

    def __enter__(self) -> PretrainFolder:
        super().__enter__()
        return self

    def agreed(self, due: bool) -> bool:
        assert self.learner is not None
        return self.learner.parallel.agreed(due)

    def log_metrics(self, values: Mapping[str, Any]) -> None:
        assert self.learner is not None
        measured = {} if values["val_loss"] is None else self.learner.val_losses
        super().log_metrics({**values, "losses": self.learner.losses, "val_losses": measured})


class _Followed(PretrainFolder):
    """Writes nothing and locks nothing: another worker does."""

    def __enter__(self) -> PretrainFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        pass

    def begin(self, facts: Mapping[str, Any]) -> None:
        pass

    def save_state(self, tensors: Mapping[str, Tensor], track: Mapping[str, Any]) -> None:
        pass

    def log_metrics(self, values: Mapping[str, Any]) -> None:
        pass


def run_folder(out: Path, overwrite: bool, leads: bool) -> PretrainFolder:
    """The folder of this worker.

    Raises:
        BusyError: as `RunFolder`, on the worker that leads.
    """
    return PretrainFolder(out, overwrite) if leads else _Followed(out, overwrite=True)
