"""Depth images of sensors and simulators -> uint16 millimetres of the size that the embodiment declares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import DepthCamera
from hpt_ros.errors import StreamError
from hpt_ros.streams.cdr import decode
from hpt_ros.streams.decode import crop
from hpt_ros.streams.rows import image_rows

_PIXELS = {"16UC1": "u2", "32FC1": "f4"}
_HIGHEST_MM = np.iinfo(np.uint16).max


def depth_frame(raw: bytes, camera: DepthCamera) -> NDArray[np.uint16]:
    """The depth image as the policy sees it: uint16 [mm] of shape `camera.size_px`, 0 where nothing was measured.

    `sensor_msgs/Image`, 16UC1 [mm] or 32FC1 [m]; NaN, infinity, negative metres and more than 65.535 m count as not measured (REP 118).
    Cropped, then each output pixel takes the input pixel at its centre: an average would put a surface between two others.

    Raises:
        StreamError: another encoding, fewer bytes than the image needs, or an image smaller than the crop.
    """
    image = crop(_pixels(decode(raw, camera.msgtype), camera.name), camera)
    rows, columns = (
        (2 * np.arange(wanted) + 1) * found // (2 * wanted)
        for wanted, found in zip(camera.size_px, image.shape, strict=True)
    )
    return _millimetres(image[rows[:, None], columns])


def _pixels(message: Any, name: str) -> NDArray[Any]:
    """The image (H, W) as it lies in the message: its byte order, without the padding of its rows."""
    if message.encoding not in _PIXELS:
        raise StreamError(
            f"depth camera {name}: encoding {message.encoding!r} is not depth",
            f"publish {' [mm] or '.join(_PIXELS)} [m], or correct the topic in the embodiment",
        )
    pixel = np.dtype((">" if message.is_bigendian else "<") + _PIXELS[message.encoding])
    rows = image_rows(message, message.width * pixel.itemsize, message.height, f"depth camera {name}: ")
    return rows.view(pixel)


def _millimetres(image: NDArray[Any]) -> NDArray[np.uint16]:
    if image.dtype.kind == "u":
        return image.astype(np.uint16)
    millimetres = np.rint(image.astype(np.float64) * 1000)
    measured = (millimetres >= 0) & (millimetres <= _HIGHEST_MM)  # not so for NaN
    return np.where(measured, millimetres, 0).astype(np.uint16)
