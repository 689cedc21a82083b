"""The bytes of a raw image message, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import StreamError


def image_rows(message: Any, row_bytes: int, rows: int, prefix: str = "") -> NDArray[np.uint8]:
    """The first `rows` rows of a `sensor_msgs/Image` without their padding, uint8 (rows, row_bytes), contiguous.

    Raises:
        StreamError: an empty image, or fewer bytes than these rows need; the message starts with `prefix`.
    """
    step, data = message.step, message.data
    if not row_bytes or not rows or step < row_bytes or len(data) < rows * step:
        raise StreamError(
            f"{prefix}{len(data)} bytes in rows of {step} do not hold {message.height} x {message.width} px of {message.encoding}",
            "correct the driver that publishes it",
        )
    return np.ascontiguousarray(data[: rows * step].reshape(rows, step)[:, :row_bytes])
