"""The pixels of encoded frames, decoded once and kept beside the set: training reads every frame many times.

.NAME.pixels/<camera>-<key>.npy   uint8 (N, H, W, 3) RGB, can be memory-mapped

`key` depends on the image files, on where each tick's lies, on what is made of them, and on the decoder. A file appears
when it is complete and on the disk; one of another key is never used, and goes when its successor is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from hpt_ros.configuration import to_mapping
from hpt_ros.demos.frames import EncodedFrames
from hpt_ros.embodiment import Camera
from hpt_ros.errors import DataError
from hpt_ros.paths import sync

_ROWS_AT_ONCE = 64
_SPARE_BYTES = 1 << 28  # what a disk keeps free
_log = logging.getLogger(__name__)


def cached_pixels(demos: Path, camera: Camera, frames: EncodedFrames, files_sha256: str) -> NDArray[np.uint8]:
    """All rows of `frames`, memory-mapped: from the cache of the set `demos`, which is filled by the first to ask.

    Every core decodes. Of two that ask at once, the second waits for the first.

    Raises:
        DataError: a file cannot be decoded, or there is no room beside the set.
    """
    folder = demos.resolve().parent / f".{demos.resolve().name}.pixels"
    path = folder / f"{camera.name}-{_key(camera, frames, files_sha256)}.npy"
    if (found := _whole(path, frames)) is not None:
        return found
    try:
        with _locked(folder):
            if (found := _whole(path, frames)) is None:
                _fill(path, frames)
                for other in folder.glob(f"{camera.name}-*"):
                    if other != path:
                        other.unlink()
                found = _whole(path, frames)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}", "move the set to where it can be written to") from error
    assert found is not None
    return found


def _key(camera: Camera, frames: EncodedFrames, files_sha256: str) -> str:
    facts = {
        "files": files_sha256,
        "spans": hashlib.sha256(np.ascontiguousarray(frames.spans).data).hexdigest(),
        "form": frames.form,
        "crop_px": to_mapping(camera.crop_px),
        "size_px": list(camera.size_px),
        "opencv": cv2.__version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _whole(path: Path, frames: EncodedFrames) -> NDArray[np.uint8] | None:
    """The cached pixels; None where there are none, or not those of all frames."""
    try:
        pixels = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == frames.shape and pixels.dtype == frames.dtype else None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # ends with the process, however that ends
        yield
    finally:
        os.close(handle)


def _fill(path: Path, frames: EncodedFrames) -> None:
    need, free = int(np.prod(frames.shape)) + _SPARE_BYTES, shutil.disk_usage(path.parent).free
    if free < need:
        raise DataError(f"{free / 1e9:.1f} GB free in {path.parent}, {need / 1e9:.1f} GB needed", "make room")
    _log.info("decoding %d frames once, into %s", len(frames), path)
    began_s = time.monotonic()
    new = path.with_name(f"{path.name}.new")
    pixels = open_memmap(new, mode="w+", dtype=frames.dtype, shape=frames.shape)

    def decode(start: int) -> None:
        pixels[start : start + _ROWS_AT_ONCE] = frames[start : start + _ROWS_AT_ONCE]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # OpenCV lets other threads run meanwhile
        for _ in pool.map(decode, range(0, len(frames), _ROWS_AT_ONCE)):
            pass
    pixels.flush()
    sync(new)
    new.rename(path)
    _log.info("decoded %d frames in %.1f s", len(frames), time.monotonic() - began_s)
