"""Rotations as matrices, unit quaternions (scalar first) and rotation vectors."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def matrix_of_quaternion(wxyz: ArrayLike) -> Array:
    """Rotation matrix (3, 3) of a unit quaternion (4,), scalar first."""
    w, x, y, z = np.asarray(wxyz, dtype=float)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_of_vector(vector_rad: Array) -> Array:
    """Rotation matrix (3, 3) of a rotation vector (3,) [rad]."""
    angle = float(np.linalg.norm(vector_rad))
    axis = vector_rad / angle if angle > 0 else np.zeros(3)
    return matrix_of_quaternion([math.cos(angle / 2), *(math.sin(angle / 2) * axis)])


def quaternion_of_matrix(rotation: Array) -> Array:
    """Unit quaternion (4,), scalar first and not negative, of a rotation matrix (3, 3).

    The largest component comes from the diagonal, so that the division is never by a small number.
    """
    diagonal = np.append(np.trace(rotation), np.diag(rotation))
    largest = int(np.argmax(diagonal))
    skew = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    if largest == 0:
        q = np.append(1 + diagonal[0], skew)
    else:
        row = largest - 1
        q = np.append(skew[row], rotation[row] + rotation[:, row])
        q[largest] = 1 - diagonal[0] + 2 * diagonal[largest]
    unit: Array = q / np.linalg.norm(q)
    return unit if unit[0] >= 0 else -unit
