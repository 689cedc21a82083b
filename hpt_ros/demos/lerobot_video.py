"""Frames as MP4 files with AV1, LeRobot's default codec; lossy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos.optional import require
from hpt_ros.errors import DataError

_OPTIONS = {"g": "2", "crf": "30", "preset": "8"}  # as LeRobot: a key frame every other frame makes seeking cheap
_TOLERANCE_S = 1e-3


def _av() -> Any:
    return require("av", "video", "av")


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], size_px: tuple[int, int], fps: int) -> None:
    """Encode RGB frames (H, W, 3) of `size_px`.

    Raises:
        DataError: a side is odd (the colours are stored at half the size), or smaller than AV1 allows.
        MissingDependencyError: PyAV is not installed, or its FFmpeg has no AV1 encoder.
    """
    av = _av()
    if any(side % 2 or side < 64 for side in size_px):
        raise DataError(f"{path.name}: AV1 video needs even sides of at least 64 px, found {size_px}", "export images")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _own_scheduling(), av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=fps, options=_OPTIONS)
        stream.height, stream.width = size_px
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


@contextmanager
def _own_scheduling() -> Iterator[None]:
    """SVT-AV1 gives the thread that calls it, and its own, the highest real-time priority where the user may; this one gets its own back."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def read_video(path: Path, start_s: float, count: int, fps: float) -> Iterator[NDArray[np.uint8]]:
    """`count` RGB frames (H, W, 3) from `start_s` on.

    Raises:
        DataError: the file cannot be read, or a frame is missing or not at its time.
        MissingDependencyError: PyAV is not installed.
    """
    av = _av()
    number = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            container.seek(int(max(0.0, start_s) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                expected_s = start_s + number / fps
                if frame.time < expected_s - _TOLERANCE_S:
                    continue
                if frame.time > expected_s + _TOLERANCE_S:
                    raise DataError(f"{path}: no frame at {expected_s:.3f} s, the next is at {frame.time:.3f} s")
                yield frame.to_ndarray(format="rgb24")
                number += 1
                if number == count:
                    return
    except (av.error.FFmpegError, IndexError) as error:
        raise DataError(f"{path}: not a readable video: {error}") from error
    raise DataError(f"{path}: {number} frames from {start_s:.3f} s on, expected {count}", "the file is cut short")
