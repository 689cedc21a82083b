"""What a tensor is made of: joint values by name, and camera frames after crop and resize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.image import ImageError, image_to_cvimage
from rosbags.image.image import Format, to_cvtype

from hpt_ros.embodiment import Camera, DepthCamera
from hpt_ros.embodiment.schema import COMMAND, IMAGE, JOINT_STATE
from hpt_ros.errors import StreamError
from hpt_ros.streams.cdr import decode
from hpt_ros.streams.image_files import file_rgb, image_file, jpeg_file
from hpt_ros.streams.positions import PositionLayout, layout_of
from hpt_ros.streams.rows import image_rows

_layouts: dict[tuple[str, tuple[str, ...]], PositionLayout] = {}  # of the last message of a type for these names
_Pixel = TypeVar("_Pixel", bound=np.generic)
_UNREADABLE = "cannot decode the image: "
_HALF_CHROMA = {Format.YUV_NV12: cv2.COLOR_YUV2RGB_NV12, Format.YUV_NV21: cv2.COLOR_YUV2RGB_NV21}


def joint_positions(raw: bytes, names: Sequence[str]) -> NDArray[np.float64]:
    """Positions of a `sensor_msgs/JointState` in the order of `names` [rad or m], shape (len(names),).

    Raises:
        StreamError: a joint is missing, or a value is not finite.
    """
    return _positions(raw, JOINT_STATE, "name", tuple(names))


def command_positions(raw: bytes, names: Sequence[str]) -> NDArray[np.float64]:
    """Targets of an `hpt_ros/Command` in the order of `names` [rad or m], shape (len(names),).

    Raises:
        StreamError: a name is missing, or a value is not finite.
    """
    try:
        return _positions(raw, COMMAND, "names", tuple(names))
    except StreamError as error:
        try:  # from before `intervention` it ends one byte earlier: that is false
            return _positions(raw + b"\0", COMMAND, "names", tuple(names))
        except StreamError:
            raise error from None


def is_intervention(raw: bytes) -> bool:
    """Whether a person drove though a policy did, as a readable `hpt_ros/Command` says it; not so in one of before it was said."""
    try:
        return bool(decode(raw, COMMAND).intervention)
    except StreamError:
        return False


def rgb_image(raw: bytes, msgtype: str) -> NDArray[np.uint8]:
    """The whole image of a `sensor_msgs/Image` or `CompressedImage`: RGB uint8 (H, W, 3).

    Raises:
        StreamError: the image cannot be decoded.
    """
    return _raw_rgb(decode(raw, msgtype)) if msgtype == IMAGE else file_rgb(image_file(raw))


def camera_frame(raw: bytes, camera: Camera) -> NDArray[np.uint8]:
    """The frame as the policy sees it: RGB uint8 of shape (*camera.size_px, 3), see `fitted`; where the store is lossy, with its losses.

    Raises:
        StreamError: the image cannot be decoded, or is smaller than the crop.
    """
    frame = fitted(rgb_image(raw, camera.msgtype), camera)
    quality = camera.jpeg_quality
    return frame if quality is None else file_rgb(jpeg_file(frame, quality))


def fitted(image: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    """`image` (H, W, 3) cropped, then resized to `camera.size_px` by area averaging; contiguous.

    Raises:
        StreamError: the image is smaller than the crop.
    """
    image = crop(image, camera)
    height, width = camera.size_px
    if image.shape[:2] != (height, width):
        image = _area_average(image, (width, height))
    return np.ascontiguousarray(image)


def crop(image: NDArray[_Pixel], camera: Camera | DepthCamera) -> NDArray[_Pixel]:
    """A view of `image` (H, W, ...) inside `camera.crop_px`, the whole of it without one.

    Raises:
        StreamError: the image is smaller than the crop.
    """
    if camera.crop_px is None:
        return image
    top, left, height, width = camera.crop_px
    if top + height > image.shape[0] or left + width > image.shape[1]:
        raise StreamError(
            f"camera {camera.name}: the image is {image.shape[0]} x {image.shape[1]} px (height x width), crop_px {list(camera.crop_px)} needs {top + height} x {left + width}",
            "correct crop_px in the embodiment, or the camera's resolution",
        )
    return image[top : top + height, left : left + width]


def _area_average(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    (width, height), (rows, columns) = size, image.shape[:2]
    shrinks, whole = rows >= height and columns >= width, rows % height == columns % width == 0
    if not shrinks or whole:  # OpenCV computes these in integers
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    # the others it sums in float32, for which it is faster, and the same bit for bit, if the image is float32 already
    means = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(means), dtype=np.uint8)


def _positions(raw: bytes, msgtype: str, field: str, names: tuple[str, ...]) -> NDArray[np.float64]:
    layout = _layouts.get((msgtype, names))
    known = layout.positions(raw) if layout is not None else None
    if known is not None:
        return known
    message = decode(raw, msgtype)
    found = getattr(message, field)
    positions = _by_name(found, message.position, names)
    new = layout_of(raw, found, message.position, names)
    if new is not None:
        _layouts[msgtype, names] = new
    return positions


def _by_name(found: Sequence[str], values: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    index = {name: i for i, name in enumerate(found)}
    missing = [name for name in names if index.get(name, len(values)) >= len(values)]
    if missing:
        raise StreamError(
            f"no position for {', '.join(missing)} in a message with {len(values)} positions for {', '.join(found)}",
            "correct the names in the embodiment, or the topic",
        )
    positions = np.array([values[index[name]] for name in names], dtype=np.float64)
    if not np.isfinite(positions).all():
        bad = [f"{name} = {value}" for name, value in zip(names, positions, strict=True) if not np.isfinite(value)]
        raise StreamError(f"position is not finite: {', '.join(bad)}", "check the driver that publishes it")
    return positions


def _raw_rgb(message: Any) -> NDArray[np.uint8]:
    """Of every encoding that names its colours; `8UC3` and its like do not say which channel is red."""
    try:
        bits, colours, _, channels = to_cvtype(message.encoding)
        if colours is Format.GENERIC:
            raise ImageError(f"encoding {message.encoding!r} does not name its colours")
        if colours in _HALF_CHROMA:  # half as many rows again, of chroma, follow those of brightness
            rows = image_rows(message, message.width, message.height * 3 // 2, _UNREADABLE)
            return np.asarray(cv2.cvtColor(rows, _HALF_CHROMA[colours]), dtype=np.uint8)
        row_bytes = message.width * channels * bits // 8
        message.data = image_rows(message, row_bytes, message.height, _UNREADABLE).reshape(-1)
        return np.asarray(image_to_cvimage(message, "rgb8"), dtype=np.uint8)
    except (ImageError, cv2.error) as error:
        raise StreamError(f"{_UNREADABLE}{error}", "publish rgb8, bgr8, mono8 or another colour encoding") from error
