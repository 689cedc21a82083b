"""What a chunk is about to do, in a form that can be shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.kinematics import forward
from hpt_ros.control.rotation import quaternion_of_matrix

Array = NDArray[np.float64]


def tool_path(rows: Sequence[Array]) -> list[tuple[Array, Array]]:
    """Position (3,) [m] and orientation (4,), scalar first, of the tool centre point for each row of joints (7,) [rad]."""
    poses = [forward(row) for row in rows]
    return [(pose[:3, 3], quaternion_of_matrix(pose[:3, :3])) for pose in poses]
