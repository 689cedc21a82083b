"""Demonstration sets on disk: written beside their place and moved there when complete.

demos.json               embodiment, fingerprint, episodes, statistics, sync report, provenance
state.npy                float32 (N, S)   [rad, m]
command.npy              float32 (N, A)   command in force at the tick [rad, m]
tick_ns.npy              int64 (N,)       ROS clock
images/<camera>.npy      uint8 (N, H, W, 3) RGB, can be memory-mapped
depth/<camera>.npy       uint16 (N, H, W) [mm], 0 where nothing was measured; can be memory-mapped
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hpt_ros.demos.align import Row
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import BusyError

FORMAT_VERSION = 1
INDEX = "demos.json"


class NpyAppender:
    """A .npy file whose first axis grows: numpy leaves room in the header for the digits of the final length."""

    def __init__(self, path: Path, dtype: str, row_shape: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self.rows = 0
        path.parent.mkdir(exist_ok=True)
        self._file = path.open("wb")
        self._write_header()
        self._data_start = self._file.tell()

    def append(self, row: NDArray[Any]) -> None:
        """Write one row; its dtype and shape must be those of the file."""
        array = np.asarray(row)
        if array.shape != self._row_shape or array.dtype != self._dtype:
            raise ValueError(f"row {array.dtype} {array.shape}, expected {self._dtype} {self._row_shape}")
        self._file.write(np.ascontiguousarray(array).data)
        self.rows += 1

    def truncate(self, rows: int) -> None:
        """Forget the rows from `rows` on."""
        self.rows = rows
        self._file.truncate(self._data_start + rows * int(np.prod(self._row_shape)) * self._dtype.itemsize)
        self._file.seek(0, 2)

    def close(self) -> None:
        """Write the final length and close; a second call does nothing."""
        if self._file.closed:
            return
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        shape = (self.rows, *self._row_shape)
        header = {"descr": npy_format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        npy_format.write_array_header_1_0(self._file, header)


class DemosWriter:
    """Writes a demonstration set; nothing is at `out` unless `commit` was reached.

    Raises:
        BusyError: `out` exists and `overwrite` is not set.
    """

    def __init__(self, out: Path, embodiment: Embodiment, overwrite: bool) -> None:
        if out.exists() and not overwrite:
            raise BusyError(f"{out} exists", "choose another name, or pass --overwrite")
        out.parent.mkdir(parents=True, exist_ok=True)
        self._out = out
        self._folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        self._folder.chmod(0o755)
        self._state = NpyAppender(self._folder / "state.npy", "<f4", (len(embodiment.state_names),))
        self._command = NpyAppender(self._folder / "command.npy", "<f4", (len(embodiment.action_names),))
        self._ticks = NpyAppender(self._folder / "tick_ns.npy", "<i8", ())
        self._images = {
            c.name: NpyAppender(self._folder / "images" / f"{c.name}.npy", "|u1", (*c.size_px, 3))
            for c in embodiment.cameras
        }
        self._depth = {
            c.name: NpyAppender(self._folder / "depth" / f"{c.name}.npy", "<u2", c.size_px) for c in embodiment.depth
        }

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._ticks.rows

    def append(self, row: Row) -> None:
        """Add one tick."""
        self._state.append(row.observation.state[-1])
        self._command.append(row.command)
        self._ticks.append(np.array(row.observation.tick_ns, dtype=np.int64))
        for name, appender in self._images.items():
            appender.append(row.observation.images[name][-1])
        for name, appender in self._depth.items():
            appender.append(row.observation.depth[name][-1])

    def truncate(self, rows: int) -> None:
        """Take back the rows of an episode that turned out to be bad."""
        for appender in self._appenders():
            appender.truncate(rows)

    def statistics(self) -> dict[str, dict[str, list[float]]]:
        """Per column of state and command: min, max, mean and std over all rows."""
        self._close()
        return {name: _statistics(np.load(self._folder / f"{name}.npy")) for name in ("state", "command")}

    def commit(self, index: Mapping[str, Any]) -> None:
        """Write `index` as demos.json and put the set in its place; an older set goes away only then."""
        self._close()
        text = json.dumps(index, indent=1, sort_keys=True, allow_nan=False) + "\n"
        (self._folder / INDEX).write_text(text)
        old = self._folder.with_suffix(".old")
        if self._out.exists():
            self._out.rename(old)
        self._folder.rename(self._out)
        shutil.rmtree(old, ignore_errors=True)

    def __enter__(self) -> DemosWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self._close()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)  # moved away when committed

    def _appenders(self) -> list[NpyAppender]:
        return [self._state, self._command, self._ticks, *self._images.values(), *self._depth.values()]

    def _close(self) -> None:
        for appender in self._appenders():
            appender.close()


def _statistics(rows: NDArray[np.float32]) -> dict[str, list[float]]:
    exact = rows.astype(np.float64)
    columns = {"min": exact.min(0), "max": exact.max(0), "mean": exact.mean(0), "std": exact.std(0)}
    return {name: [float(x) for x in values] for name, values in columns.items()}
