"""Camera messages in every encoding that is understood."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import synthetic
from rosbags.image.image import to_cvtype

from hpt_ros.embodiment.schema import IMAGE
from hpt_ros.streams.cdr import decode, typestore

HALF_CHROMA = ("nv12", "nv21")
BAYER = tuple(f"bayer_{pattern}{bits}" for bits in (8, 16) for pattern in ("rggb", "bggr", "gbrg", "grbg"))
PACKED = tuple(f"{channels}{bits}" for bits in (8, 16) for channels in ("rgb", "bgr", "rgba", "bgra"))
YUV422 = ("yuyv", "yuv422_yuy2", "uyvy", "yuv422")
ENCODINGS = (*PACKED, "mono8", "mono16", *BAYER, *YUV422, *HALF_CHROMA)


def picture(stamp_ns: int, samples: np.ndarray[Any, Any], encoding: str, padding: int = 0, big: bool = False) -> bytes:
    """A `sensor_msgs/Image` of `samples` (rows, W[, channels]); of nv12 and nv21 the last third of the rows is chroma."""
    ordered = samples.astype(samples.dtype.newbyteorder(">" if big else "<"))
    raw = synthetic.image(stamp_ns, ordered, encoding, padding, big)
    if encoding not in HALF_CHROMA:
        return raw
    return bytes(typestore().serialize_cdr(replace(decode(raw, IMAGE), height=len(samples) * 2 // 3), IMAGE))


def noise(number: int, encoding: str, height: int = 24, width: int = 32) -> np.ndarray[Any, Any]:
    """Samples of that encoding which differ from frame to frame."""
    _, _, dtype, channels = to_cvtype(encoding)
    rows = height * 3 // 2 if encoding in HALF_CHROMA else height
    shape = (rows, width) if channels == 1 else (rows, width, channels)
    return np.random.default_rng(number).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
