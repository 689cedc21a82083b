"""A WebM of the trials, all cameras side by side with a caption."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hpt_ros.errors import MissingDependencyError

_CAPTION_PX = 24


class TrialVideo:
    """Writes VP8 frames of RGB images (H, W, 3) uint8, side by side in the order of the first frame.

    Raises:
        MissingDependencyError: OpenCV was built without the encoder.
    """

    def __init__(self, path: Path, rate_hz: float) -> None:
        self._path, self._rate_hz = path, rate_hz
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def add(self, images: Mapping[str, npt.NDArray[np.uint8]], caption: str) -> None:
        """Append one frame."""
        height = max(image.shape[0] for image in images.values())
        views = [cv2.resize(image, (image.shape[1] * height // image.shape[0], height)) for image in images.values()]
        frame = np.vstack([np.zeros((_CAPTION_PX, sum(v.shape[1] for v in views), 3), np.uint8), np.hstack(views)])
        cv2.putText(frame, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        if self._writer is None:
            self._open(frame.shape[1], frame.shape[0])
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = cv2.resize(frame, self._size)
        assert self._writer is not None
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def _open(self, width: int, height: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._size = (width, height)
        with _quiet_stderr():
            self._writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*"VP80"), self._rate_hz, self._size)
        if not self._writer.isOpened():
            raise MissingDependencyError("this OpenCV cannot write VP8 video", "pip install opencv-python-headless")

    def close(self) -> None:
        """Complete the file; without a frame there is none."""
        if self._writer is not None:
            self._writer.release()


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """FFmpeg writes a note on its choice of tag past Python's stderr."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
