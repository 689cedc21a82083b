"""Rotations as matrices, unit quaternions (scalar first), rotation vectors, and six numbers (rot6d)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_NO_SINE = 1e-9
_SKEW = ((2, 0, 1), (1, 2, 0))  # entries whose differences are the axis, longer by twice the sine


def matrix_of_quaternion(wxyz: ArrayLike) -> Array:
    """Rotation matrix (..., 3, 3) of a unit quaternion (..., 4), scalar first."""
    w, x, y, z = np.moveaxis(np.asarray(wxyz, dtype=float), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def matrix_of_vector(vector_rad: Array) -> Array:
    """Rotation matrix (..., 3, 3) of a rotation vector (..., 3) [rad]."""
    half = np.linalg.norm(vector_rad, axis=-1, keepdims=True) / 2
    scalar, vector = np.cos(half), np.sinc(half / math.pi) / 2 * vector_rad
    return matrix_of_quaternion(np.concatenate([scalar, vector], axis=-1))


def vector_of_matrix(rotation: Array) -> Array:
    """Rotation vector (..., 3) [rad], of at most half a turn, of a rotation matrix (..., 3, 3)."""
    skew = rotation[..., _SKEW[0], _SKEW[1]] - rotation[..., _SKEW[1], _SKEW[0]]
    sine = np.sqrt((skew * skew).sum(axis=-1)) / 2
    trace = rotation[..., 0, 0] + rotation[..., 1, 1] + rotation[..., 2, 2]
    angle = np.arctan2(sine, (trace - 1) / 2)
    vector: Array = skew * np.where(sine > _NO_SINE, angle / (2 * np.maximum(sine, _NO_SINE)), 0.5)[..., None]
    half_turn = (sine <= _NO_SINE) & (angle > 1)
    if half_turn.any():
        vector[half_turn] = angle[half_turn, None] * [_half_turn_axis(matrix) for matrix in rotation[half_turn]]
    return vector


def _half_turn_axis(rotation: Array) -> Array:
    """The eigenvector of eigenvalue 1 (3,)."""
    column = int(np.argmax(np.diag(rotation)))
    axis = rotation[:, column] + np.eye(3)[column]
    unit: Array = axis / np.linalg.norm(axis)
    return unit


def six_of_matrix(rotation: Array) -> Array:
    """The first two columns (..., 6) of a rotation matrix (..., 3, 3), one after the other.

    Source: Zhou et al., "On the continuity of rotation representations in neural networks", CVPR 2019.
    """
    return np.concatenate([rotation[..., 0], rotation[..., 1]], axis=-1)


def matrix_of_six(six: Array) -> Array:
    """The rotation matrix (..., 3, 3) next to six numbers (..., 6), by Gram and Schmidt; NaN where they are no two directions."""
    first, second = six[..., :3], six[..., 3:]
    with np.errstate(invalid="ignore", divide="ignore"):
        x = first / np.linalg.norm(first, axis=-1, keepdims=True)
        left = second - (x * second).sum(axis=-1, keepdims=True) * x
        y = left / np.linalg.norm(left, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def mean_rotation(rotations: Array, weights: Array) -> Array:
    """The weighted mean (..., 3, 3) of rotation matrices (K, ..., 3, 3) with weights (K, ...): the nearest to all in the
    sense of least squares over their entries.

    Source: Hartley et al., "Rotation averaging", IJCV 103 (2013), section 5.3, the chordal L2 mean.
    """
    left, _, right = np.linalg.svd((weights[..., None, None] * rotations).sum(axis=0))
    left[..., 2] *= np.sign(np.linalg.det(left @ right))[..., None]
    mean: Array = left @ right
    return mean


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
