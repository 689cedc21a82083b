"""Demonstration sets on disk: arrays of rows, and an index.

demos.json               embodiment, fingerprint, episodes, statistics, sync report, provenance
state.npy                float32 (N, S)   [rad, m]
command.npy              float32 (N, A)   command in force at the tick [rad, m]
tick_ns.npy              int64 (N,)       ROS clock
images/<camera>.npy      uint8 (N, H, W, 3) RGB, can be memory-mapped
depth/<camera>.npy       uint16 (N, H, W) [mm], 0 where nothing was measured; can be memory-mapped
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hpt_ros.demos.align import Row
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError
from hpt_ros.paths import sync

FORMAT_VERSION = 1
INDEX = "demos.json"
_BLOCK_BYTES = 8 << 20


class NpyAppender:
    """A .npy file whose first axis grows: numpy leaves room in the header for the digits of the final length."""

    def __init__(self, path: Path, dtype: str, row_shape: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self.rows = 0
        path.parent.mkdir(parents=True, exist_ok=True)
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

    def extend(self, path: Path, start: int, stop: int) -> None:
        """Copy rows [start, stop) of another .npy file of the same kind of rows.

        Raises:
            DataError: it holds other rows, or too few.
        """
        with path.open("rb") as file:
            npy_format.read_magic(file)
            shape, _, dtype = npy_format.read_array_header_1_0(file)
            if shape[1:] != self._row_shape or dtype != self._dtype or shape[0] < stop:
                raise DataError(f"{path}: {dtype} {shape}, expected at least {stop} rows {self._row_shape}")
            row_bytes = int(np.prod(self._row_shape)) * self._dtype.itemsize
            file.seek(start * row_bytes, 1)
            left = (stop - start) * row_bytes
            while block := file.read(min(left, _BLOCK_BYTES)):
                self._file.write(block)
                left -= len(block)
        if left:
            raise DataError(f"{path}: {left} bytes are missing", f"delete {path.parent} and convert again")
        self.rows += stop - start

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


class RowsWriter:
    """The arrays of a set, or of one episode, in `folder`."""

    def __init__(self, folder: Path, embodiment: Embodiment) -> None:
        self._folder = folder
        self._arrays = {
            "state.npy": NpyAppender(folder / "state.npy", "<f4", (len(embodiment.state_names),)),
            "command.npy": NpyAppender(folder / "command.npy", "<f4", (len(embodiment.action_names),)),
            "tick_ns.npy": NpyAppender(folder / "tick_ns.npy", "<i8", ()),
        }
        for camera in embodiment.cameras:
            name = f"images/{camera.name}.npy"
            self._arrays[name] = NpyAppender(folder / name, "|u1", (*camera.size_px, 3))
        for view in embodiment.depth:
            name = f"depth/{view.name}.npy"
            self._arrays[name] = NpyAppender(folder / name, "<u2", view.size_px)

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._arrays["tick_ns.npy"].rows

    def append(self, row: Row) -> None:
        """Add one tick."""
        self._arrays["state.npy"].append(row.observation.state[-1])
        self._arrays["command.npy"].append(row.command)
        self._arrays["tick_ns.npy"].append(np.array(row.observation.tick_ns, dtype=np.int64))
        for name, frames in row.observation.images.items():
            self._arrays[f"images/{name}.npy"].append(frames[-1])
        for name, maps in row.observation.depth.items():
            self._arrays[f"depth/{name}.npy"].append(maps[-1])

    def extend(self, folder: Path, start: int, stop: int) -> None:
        """Copy rows [start, stop) of the arrays that another writer has written to `folder`."""
        for name, array in self._arrays.items():
            array.extend(folder / name, start, stop)

    def close(self) -> None:
        """Complete the files; a second call does nothing."""
        for array in self._arrays.values():
            array.close()

    def sync(self) -> None:
        """Close, and force all of it to the disk."""
        self.close()
        for name in self._arrays:
            sync(self._folder / name)

    def __enter__(self) -> RowsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def statistics(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Per column of state and command: min, max, mean and std over all rows."""
    return {name: _columns(np.load(folder / f"{name}.npy")) for name in ("state", "command")}


def _columns(rows: NDArray[np.float32]) -> dict[str, list[float]]:
    exact = rows.astype(np.float64)
    columns = {"min": exact.min(0), "max": exact.max(0), "mean": exact.mean(0), "std": exact.std(0)}
    return {name: [float(x) for x in values] for name, values in columns.items()}
