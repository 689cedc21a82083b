"""The folder of a run: it appears under its name only when the run is complete."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from torch import Tensor

from hpt_ros.errors import BusyError
from hpt_ros.training.state_file import RunState, read_state, require_same_facts, write_state

log = logging.getLogger(__name__)
STATE = "state.safetensors"
METRICS = "metrics.jsonl"


class RunFolder:
    """Collects a run in `<out>.partial` and moves it to `out` when the `with` block ends well.

    Interrupted, the partial folder stays; the next run to the same place goes on from the state in it, `saved`, if its
    facts are the same.

    Args:
        overwrite: replace a complete run, and discard an interrupted one.

    Raises:
        BusyError: `out` exists and `overwrite` is not set, or another run writes there now.
    """

    def __init__(self, out: Path, overwrite: bool) -> None:
        if out.exists() and not overwrite:
            raise BusyError(f"{out} exists", "choose another --out, or pass --overwrite")
        self.out = out
        self.path = out.with_name(f"{out.name}.partial")
        self.saved: RunState | None = None
        self._overwrite = overwrite
        self._facts: Mapping[str, Any] = {}
        self._metrics: IO[str] | None = None

    def __enter__(self) -> RunFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise BusyError(f"another run is writing to {self.path}", "wait for it, or choose another --out") from error
        return self

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Find or clear what an interrupted run left. `facts`: plain data that shapes the run, as `state_file` compares it.

        Raises:
            ResumeError: an interrupted run there has other facts; names each difference.
            DataError: its state is damaged.
        """
        self._facts = facts
        if not self._overwrite and (self.path / STATE).is_file():
            self.saved = read_state(self.path / STATE)
            require_same_facts(self.path, self.saved.facts, facts)
            _keep_lines(self.path / METRICS, self.saved.track["step"])
        else:
            for left_over in self.path.iterdir():
                shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        self._metrics = (self.path / METRICS).open("a")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if error is None:
            old = self.out.with_name(f".{self.out.name}.old")
            if self.out.exists():
                self.out.rename(old)
            self.path.rename(self.out)
            (self.out / STATE).unlink(missing_ok=True)
            shutil.rmtree(old, ignore_errors=True)
        elif not any(self.path.iterdir()):
            self.path.rmdir()
        elif self._metrics is not None:  # otherwise it was refused before it began
            log.warning("the run did not end well; what it had saved is in %s", self.path)
        os.close(self._lock)

    def agreed(self, due: bool) -> bool:
        """Whether the state is written now, where a clock of this process says so or not."""
        return due

    def save_state(self, tensors: Mapping[str, Tensor], track: Mapping[str, Any]) -> None:
        """Write what the next run to this place goes on from."""
        assert self._metrics is not None
        os.fsync(self._metrics.fileno())
        write_state(self.path / STATE, RunState(self._facts, track, tensors))

    def log_metrics(self, values: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        assert self._metrics is not None
        self._metrics.write(json.dumps(values) + "\n")
        self._metrics.flush()

    def write_report(self, values: Mapping[str, Any]) -> None:
        """Write report.json."""
        (self.path / "report.json").write_text(json.dumps(values, indent=1) + "\n")


def _keep_lines(path: Path, last_step: int) -> None:
    """Drop what was logged after the state was written: it is computed again."""
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= last_step:
                kept.append(line + "\n")
        except ValueError:  # cut short by the interruption
            break
    path.write_text("".join(kept))
