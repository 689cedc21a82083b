"""The forms in which a demonstration set keeps the frames of a camera, and frames that are decoded when they are read."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Camera
from hpt_ros.embodiment.schema import IMAGE
from hpt_ros.errors import DataError, StreamError
from hpt_ros.streams.decode import camera_frame, crop, fitted, rgb_image
from hpt_ros.streams.image_files import File, check_file, file_rgb, image_file, jpeg_file

Form = Literal["pixels", "received", "fitted"]
"""`pixels`: what the policy sees. `received`: the image files that the camera sent; cropped and resized when they are read.
`fitted`: JPEG files of what the policy sees."""

Frames: TypeAlias = "NDArray[np.uint8] | EncodedFrames"


def form_of(camera: Camera, received: bool) -> Form:
    """How the frames of a camera are kept; `received`: they come in its messages, not as pixels."""
    if camera.jpeg_quality is not None:
        return "fitted"
    return "received" if received and camera.msgtype != IMAGE else "pixels"


def kept(raw: bytes, camera: Camera) -> NDArray[np.uint8]:
    """What is kept of a camera's message: pixels (*camera.size_px, 3), or an image file (n,) that is known to be readable.

    Raises:
        StreamError: what `camera_frame` would raise.
    """
    form = form_of(camera, received=True)
    if form == "pixels":
        return camera_frame(raw, camera)
    if form == "fitted":
        return kept_pixels(fitted(rgb_image(raw, camera.msgtype), camera), camera)
    file = image_file(raw)
    if camera.crop_px is None:
        check_file(file)
    else:  # whether the image is large enough shows in all of its pixels only
        crop(file_rgb(file), camera)
    return file


def kept_pixels(frame: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    """What is kept of a frame (*camera.size_px, 3) that did not come in a message."""
    return frame if camera.jpeg_quality is None else jpeg_file(frame, camera.jpeg_quality)


def files_path(pixels: Path) -> tuple[Path, Path]:
    """The files of an encoded camera whose pixels would be `images/NAME.npy`: their bytes, and where each tick's file lies in them."""
    return pixels.with_suffix(".bin"), pixels.with_suffix(".spans.npy")


class EncodedFrames:
    """Reads like a uint8 array (N, H, W, 3); rows are decoded, cropped and resized when they are asked for.

    `path`: where the pixels would be. `spans`: int64 (N, 2), where the files of the rows lie.

    Raises:
        FileNotFoundError: a part is missing.
        DataError: the parts do not belong together; on reading: a file cannot be decoded.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, path: Path, camera: Camera, form: Form) -> None:
        self._path, spans_path = files_path(path)
        self._camera = camera
        self.form = form
        self.spans: NDArray[np.int64] = np.load(spans_path)
        self._files = np.memmap(self._path, dtype=np.uint8, mode="r")
        if self.spans.ndim != 2 or self.spans.shape[1] != 2 or self.spans[-1, 1] != len(self._files):
            raise DataError(f"{self._path}: does not belong to {spans_path.name}", "convert the bags again")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, 3)"""
        return (len(self.spans), *self._camera.size_px, 3)

    def __len__(self) -> int:
        return len(self.spans)

    def file(self, i: int) -> File:
        """The image file of row `i`; shares memory with the set."""
        start, stop = self.spans[i]
        return self._files[start:stop]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """A row, or the rows of a slice, of an array of indices or of booleans."""
        if isinstance(key, SupportsIndex) and not isinstance(key, np.ndarray):
            return self._frame(operator.index(key))
        rows = np.arange(len(self))[key].tolist()
        decoded = {i: self._frame(i) for i in dict.fromkeys(rows)}
        return np.stack([decoded[i] for i in rows]) if rows else np.empty((0, *self.shape[1:]), np.uint8)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return map(self._frame, range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)

    def _frame(self, i: int) -> NDArray[np.uint8]:
        try:
            image = file_rgb(self.file(i))
            return image if self.form == "fitted" else fitted(image, self._camera)
        except StreamError as error:
            raise DataError(f"{self._path}: row {i}: {error.message}", "convert the bags again") from error
