"""Demonstration sets on disk: arrays of rows, image files, and an index. docs/demonstrations.md tells more.

demos.json               embodiment, fingerprint, episodes, forms of the images, statistics, sync report, provenance
state.npy                float32 (N, S)   [rad, m]
command.npy              float32 (N, A)   command in force at the tick [rad, m]
tick_ns.npy              int64 (N,)       ROS clock
intervention.npy         bool (N,)        the command was a person's though a policy ran; absent where that is not known
depth/<camera>.npy       uint16 (N, H, W) [mm], 0 where nothing was measured; can be memory-mapped

A camera is kept as pixels:
images/<camera>.npy        uint8 (N, H, W, 3) RGB, can be memory-mapped
or as JPEG or PNG files:
images/<camera>.bin        the files that ticks use, one after the other
images/<camera>.spans.npy  int64 (N, 2) the tick's file is the bytes [start, stop) of the above; ticks may share one
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hpt_ros.demos.align import Row
from hpt_ros.demos.frames import Form, files_path, form_of
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError
from hpt_ros.paths import sync

FORMAT_VERSION = 3
READABLE_VERSIONS = (2, 3)  # 2: without interventions
INDEX = "demos.json"
_BLOCK_BYTES = 8 << 20


class NpyAppender:
    """A .npy file whose first axis grows: numpy leaves room in the header for the digits of the final length."""

    def __init__(self, path: Path, dtype: str, row_shape: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self.paths = (path,)
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
            self._file.flush()
            _copy(file, self._file, file.tell() + start * row_bytes, (stop - start) * row_bytes)
        self.rows += stop - start

    def start_sync(self) -> None:
        """Let the disk begin to write what is there so far."""
        _start_sync(self._file)

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


class FilesAppender:
    """Image files one after the other, and which of them belongs to each row; `path`: where their pixels would be."""

    def __init__(self, path: Path) -> None:
        self.paths = files_path(path)
        self._spans = NpyAppender(self.paths[1], "<i8", (2,))
        self._file = self.paths[0].open("wb")
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._last = b""

    def append(self, row: NDArray[Any]) -> None:
        """Write one file, uint8 (n,); one that equals the row before is written once."""
        file = row.tobytes()
        if file != self._last:
            self._write(file)
            self._last = file
        self._spans.append(np.array([self._bytes - len(file), self._bytes], dtype=np.int64))

    def extend(self, path: Path, start: int, stop: int) -> None:
        """Copy the files of rows [start, stop) of another writer.

        Raises:
            DataError: it has too few.
        """
        blob, spans_path = files_path(path)
        spans = np.load(spans_path)[start:stop]
        first, left = int(spans[0, 0]), int(spans[-1, 1] - spans[0, 0])
        shift = self._bytes - first
        with blob.open("rb") as file:
            file.seek(first)
            while block := file.read(min(left, _BLOCK_BYTES)):
                self._write(block)
                left -= len(block)
        if left or len(spans) < stop - start:
            raise _cut(blob)
        for span in spans + shift:
            self._spans.append(span)

    @property
    def sha256(self) -> str:
        """Of all files."""
        return self._hash.hexdigest()

    def start_sync(self) -> None:
        """Let the disk begin to write what is there so far."""
        _start_sync(self._file)

    def close(self) -> None:
        """Complete both parts; a second call does nothing."""
        self._file.close()
        self._spans.close()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._bytes += len(data)


def _copy(source: BinaryIO, target: BinaryIO, offset: int, count: int) -> None:
    """Append `count` bytes of a file to another within the kernel; both are flushed.

    Raises:
        DataError: the source has fewer bytes.
    """
    while count:
        done = os.sendfile(target.fileno(), source.fileno(), offset, count)
        if not done:
            raise _cut(Path(source.name))
        offset, count = offset + done, count - done


def _start_sync(file: BinaryIO) -> None:
    """Linux begins to write dirty pages when it is told that they will not be needed; it keeps them until they are written."""
    file.flush()
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _cut(path: Path) -> DataError:
    return DataError(f"{path}: bytes are missing", f"delete {path.parent} and convert again")


class RowsWriter:
    """The arrays of a set, or of one episode, in `folder`.

    `received`: rows hold what `frames.kept` makes of messages, otherwise what `frames.kept_pixels` makes of frames.
    `interventions`: whether it is known which commands were.
    """

    def __init__(self, folder: Path, embodiment: Embodiment, received: bool, interventions: bool) -> None:
        self.forms: dict[str, Form] = {camera.name: form_of(camera, received) for camera in embodiment.cameras}
        self._arrays: dict[str, NpyAppender | FilesAppender] = {
            "state.npy": NpyAppender(folder / "state.npy", "<f4", (len(embodiment.state_names),)),
            "command.npy": NpyAppender(folder / "command.npy", "<f4", (len(embodiment.command_names),)),
        }
        for camera in embodiment.cameras:
            name = f"images/{camera.name}.npy"
            pixels = self.forms[camera.name] == "pixels"
            shape = (*camera.size_px, 3)
            self._arrays[name] = NpyAppender(folder / name, "|u1", shape) if pixels else FilesAppender(folder / name)
        for view in embodiment.depth:
            name = f"depth/{view.name}.npy"
            self._arrays[name] = NpyAppender(folder / name, "<u2", view.size_px)
        if interventions:
            self._arrays["intervention.npy"] = NpyAppender(folder / "intervention.npy", "|b1", ())
        self._ticks = self._arrays["tick_ns.npy"] = NpyAppender(folder / "tick_ns.npy", "<i8", ())

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._ticks.rows

    def images(self) -> dict[str, dict[str, str]]:
        """By camera, what the index says of its frames: their form, and the hash of their files."""
        found: dict[str, dict[str, str]] = {name: {"form": form} for name, form in self.forms.items()}
        for name, about in found.items():
            array = self._arrays[f"images/{name}.npy"]
            if isinstance(array, FilesAppender):
                about["sha256"] = array.sha256
        return found

    def append(self, row: Row) -> None:
        """Add one tick."""
        self._arrays["state.npy"].append(row.observation.state[-1])
        self._arrays["command.npy"].append(row.command)
        self._ticks.append(np.array(row.observation.tick_ns, dtype=np.int64))
        if "intervention.npy" in self._arrays:
            self._arrays["intervention.npy"].append(np.array(row.intervention))
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

    def start_sync(self) -> None:
        """Let the disk begin to write what is there so far, without waiting for it."""
        for array in self._arrays.values():
            array.start_sync()

    def sync(self) -> None:
        """Close, and force all of it to the disk."""
        self.close()
        for array in self._arrays.values():
            for path in array.paths:
                sync(path)

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
