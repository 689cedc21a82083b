"""JPEG and PNG files inside compressed image messages, and as the form in which a lossy store keeps frames."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.schema import COMPRESSED_IMAGE
from hpt_ros.errors import StreamError
from hpt_ros.streams.cdr import decode

_JPEG = b"\xff\xd8"
File = NDArray[np.uint8]
"""The bytes of an image file, uint8 (n,)."""


def image_file(raw: bytes) -> File:
    """The file in a serialized `sensor_msgs/CompressedImage`; shares memory with `raw`.

    Raises:
        StreamError: the bytes are no such message.
    """
    return np.asarray(decode(raw, COMPRESSED_IMAGE).data, dtype=np.uint8)


def file_rgb(file: File) -> NDArray[np.uint8]:
    """The pixels of an image file: RGB uint8 (H, W, 3).

    Raises:
        StreamError: it is cut off, or no JPEG or PNG.
    """
    image = _pixels(file, cv2.IMREAD_ANYCOLOR)
    if image is None:
        raise StreamError(
            f"cannot decode the compressed image ({len(file)} bytes beginning with {file[:4].tobytes().hex(' ') or 'nothing'})",
            "publish whole JPEG or PNG images",
        )
    conversion = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, conversion), dtype=np.uint8)


def check_file(file: File) -> None:
    """Raise what `file_rgb` would raise, in half its time: a JPEG's entropy code is read to its end, few pixels are made.

    Raises:
        StreamError: as `file_rgb`.
    """
    if file[:2].tobytes() != _JPEG or _pixels(file, cv2.IMREAD_REDUCED_GRAYSCALE_8) is None:
        file_rgb(file)


def jpeg_file(rgb: NDArray[np.uint8], quality: int) -> File:
    """A frame (H, W, 3) as a JPEG file; `quality`: 1 to 100."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return np.asarray(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], dtype=np.uint8).reshape(-1)


def _pixels(file: File, flags: int) -> NDArray[np.uint8] | None:
    try:
        return cv2.imdecode(file, flags)  # type: ignore[return-value]
    except cv2.error:  # of an empty file
        return None
