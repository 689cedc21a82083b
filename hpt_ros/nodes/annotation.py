"""What the network sees of a camera, with the motion that the policy intends drawn beside it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_SIDE_PX = 320  # of the picture's longer side
_PANEL_PX = 90
_FULL_SCALE_RAD = 0.3
_WHITE, _GREEN, _GREY = (255, 255, 255), (90, 220, 90), (90, 90, 90)


def annotated(frame: Image, rows: NDArray[Any] | None, joints: int, title: str) -> Image:
    """The network's frame (H, W, 3) RGB, enlarged without smoothing, above a curve per joint of what a chunk does.

    Args:
        rows: of the newest chunk (N, A) [rad, m]; None: none yet.
        joints: how many of the columns are joints; a further one is the gripper's width.
    """
    scale = max(1, _SIDE_PX // max(frame.shape[:2]))
    enlarged = np.repeat(np.repeat(frame, scale, axis=0), scale, axis=1)
    panel = np.zeros((_PANEL_PX, enlarged.shape[1], 3), np.uint8)
    cv2.putText(panel, title, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _WHITE, 1, cv2.LINE_AA)
    if rows is not None:
        _draw_rows(panel, rows, joints)
    picture: Image = np.concatenate([enlarged, panel])
    return picture


def _draw_rows(panel: Image, rows: NDArray[Any], joints: int) -> None:
    """A small plot for each column: the way from the chunk's first row, upwards positive."""
    columns = rows.shape[1]
    width, middle = panel.shape[1] // columns, 20 + (_PANEL_PX - 24) // 2
    half = (_PANEL_PX - 28) // 2
    for column in range(columns):
        left = column * width
        cv2.line(panel, (left + 2, middle), (left + width - 3, middle), _GREY, 1)
        full_scale = _FULL_SCALE_RAD if column < joints else 0.08
        way = np.clip((rows[:, column] - rows[0, column]) / full_scale, -1, 1)
        x = np.linspace(left + 2, left + width - 3, len(way))
        points = np.stack([x, middle - half * way], axis=1).round().astype(np.int32)
        cv2.polylines(panel, [points.reshape(-1, 1, 2)], False, _GREEN, 1, cv2.LINE_AA)
