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
from typing import Any

from hpt_ros.errors import BusyError

log = logging.getLogger(__name__)


class RunFolder:
    """Collects a run in `<out>.partial` and moves it to `out` when the `with` block ends well.

    Interrupted, the partial folder stays with its complete checkpoints until the next run to the same place.

    Raises:
        BusyError: `out` exists and `overwrite` is not set, or another run writes there now.
    """

    def __init__(self, out: Path, overwrite: bool) -> None:
        if out.exists() and not overwrite:
            raise BusyError(f"{out} exists", "choose another --out, or pass --overwrite")
        self.out = out
        self.path = out.with_name(f"{out.name}.partial")

    def __enter__(self) -> RunFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise BusyError(f"another run is writing to {self.path}", "wait for it, or choose another --out") from error
        for left_over in self.path.iterdir():
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        self._metrics = (self.path / "metrics.jsonl").open("w")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._metrics.close()
        if error is None:
            old = self.out.with_name(f".{self.out.name}.old")
            if self.out.exists():
                self.out.rename(old)
            self.path.rename(self.out)
            shutil.rmtree(old, ignore_errors=True)
        else:
            log.warning("the run did not end well; what it had saved is in %s", self.path)
        os.close(self._lock)

    def log_metrics(self, values: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        self._metrics.write(json.dumps(values) + "\n")
        self._metrics.flush()

    def write_report(self, values: Mapping[str, Any]) -> None:
        """Write report.json."""
        (self.path / "report.json").write_text(json.dumps(values, indent=1) + "\n")
