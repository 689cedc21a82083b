"""Kinematics of the Franka Panda and FR3 arms with the Franka Hand: both share one Denavit-Hartenberg table.

Source: Franka control parameters documentation, "Denavit-Hartenberg parameters" (Craig's convention), and
franka_description for the hand. Frames: the base is `link0`; the tool centre point (TCP) lies between the finger tips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt_ros.control.rotation import vector_of_matrix

Array = NDArray[np.float64]

_A_D_ALPHA = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -math.pi / 2),
    (0.0, 0.316, math.pi / 2),
    (0.0825, 0.0, math.pi / 2),
    (-0.0825, 0.384, -math.pi / 2),
    (0.0, 0.0, math.pi / 2),
    (0.088, 0.0, math.pi / 2),
)
FLANGE_M = 0.107  # joint 7 to flange, along z
HAND_YAW_RAD = -math.pi / 4  # flange to hand, about z
TCP_M = 0.1034  # hand to TCP, along z
_N = len(_A_D_ALPHA)


def forward(q: ArrayLike) -> Array:
    """Pose of the TCP in the base frame, (..., 4, 4), for joint angles (..., 7) [rad]; translation [m]."""
    pose: Array = _last_frame(q) @ _TCP
    return pose


def flange(q: ArrayLike) -> Array:
    """Pose of the flange in the base frame, (..., 4, 4)."""
    pose: Array = _last_frame(q) @ _FLANGE
    return pose


def tcp_position(q: Sequence[float]) -> tuple[float, float, float]:
    """TCP position [m] in the base frame for joint angles (7,) [rad], without numpy: some microseconds, for the control tick."""
    x, y, z = 0.0, 0.0, FLANGE_M + TCP_M
    for angle, (a, d, cos_alpha, sin_alpha) in zip(reversed(q), _BACKWARD, strict=True):
        c, s = math.cos(angle), math.sin(angle)
        x, y, z = a + c * x - s * y, s * x + c * y, z + d
        y, z = cos_alpha * y - sin_alpha * z, sin_alpha * y + cos_alpha * z
    return x, y, z


def jacobian(q: ArrayLike) -> Array:
    """Geometric Jacobian of the TCP, (..., 6, 7): linear [m/rad] above angular rows, in the base frame."""
    return tool_jacobian(joint_frames(q))


def tool_jacobian(frames: Array) -> Array:
    """`jacobian` for the `joint_frames` of the same angles."""
    linear = point_jacobian(frames, tool(frames)[..., :3, 3])
    return np.concatenate([linear, np.swapaxes(frames[..., :3, 2], -1, -2)], axis=-2)


def joint_frames(q: ArrayLike) -> Array:
    """Poses (..., 7, 4, 4) of the links' frames in the base frame, for angles (..., 7); joint i turns about the z axis of frame i."""
    frames = _links(q)
    for i in range(1, _N):
        frames[..., i, :, :] = frames[..., i - 1, :, :] @ frames[..., i, :, :]
    return frames


def tool(frames: Array) -> Array:
    """Pose (..., 4, 4) of the TCP in the base frame, for the `joint_frames` of the same angles."""
    pose: Array = frames[..., -1, :, :] @ _TCP
    return pose


def point_jacobian(frames: Array, points_m: Array) -> Array:
    """Velocity per joint velocity [m/rad] of points (..., 3) that the last link carries: (..., 3, 7), base frame.

    `frames` (7, 4, 4), or one set for each point (..., 7, 4, 4).
    """
    arms = points_m[..., None, :] - frames[..., :3, 3]
    x, y, z = arms[..., 0], arms[..., 1], arms[..., 2]
    a, b, c = frames[..., 0, 2], frames[..., 1, 2], frames[..., 2, 2]
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-2)  # np.cross is slow on few vectors


def pose_error(current: Array, target: Array) -> Array:
    """The twist (..., 6) that turns pose `current` (..., 4, 4) into `target` in one second: [m] above the rotation vector [rad], base frame."""
    turn = vector_of_matrix(target[..., :3, :3] @ np.swapaxes(current[..., :3, :3], -1, -2))
    return np.concatenate([target[..., :3, 3] - current[..., :3, 3], turn], axis=-1)


def differential_ik(q: ArrayLike, twist: ArrayLike, damping: float = 0.03, posture: ArrayLike | None = None) -> Array:
    """Joint velocities (7,) [rad/s] for a TCP twist (6,) [m/s, rad/s] in the base frame, by damped least squares.

    Args:
        damping: bounds the speeds near singularities, where the twist is then only approached.
        posture: joint velocities (7,) [rad/s] wished for; only their null-space part, which leaves the TCP alone, is used.
    """
    matrix = jacobian(q)
    wished = np.zeros(_N) if posture is None else np.asarray(posture, dtype=float)
    gram = matrix @ matrix.T + damping**2 * np.eye(6)
    velocities: Array = wished + matrix.T @ np.linalg.solve(gram, np.asarray(twist, dtype=float) - matrix @ wished)
    return velocities


def _last_frame(q: ArrayLike) -> Array:
    links = _links(q)
    return reduce(np.matmul, (links[..., i, :, :] for i in range(_N)))


def _links(q: ArrayLike) -> Array:
    """Transforms from each joint's frame to the one before, (..., 7, 4, 4)."""
    angles = np.asarray(q, dtype=float)
    turn = np.zeros((*angles.shape, 4, 4))
    turn[..., 0, 0] = turn[..., 1, 1] = np.cos(angles)
    turn[..., 1, 0] = np.sin(angles)
    turn[..., 0, 1] = -turn[..., 1, 0]
    turn[..., 2, 2] = turn[..., 3, 3] = 1.0
    links: Array = _FIXED @ turn
    return links


def _fixed(a: float, d: float, alpha: float) -> Array:
    """The part of a link's transform that does not turn: Rot_x(alpha) Trans_x(a) Trans_z(d)."""
    c, s = math.cos(alpha), math.sin(alpha)
    return np.array([[1, 0, 0, a], [0, c, -s, -d * s], [0, s, c, d * c], [0, 0, 0, 1]])


def _tool(yaw_rad: float, z_m: float) -> Array:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, z_m], [0, 0, 0, 1.0]])


_BACKWARD = tuple((a, d, math.cos(alpha), math.sin(alpha)) for a, d, alpha in reversed(_A_D_ALPHA))
_FIXED = np.stack([_fixed(*row) for row in _A_D_ALPHA])
_FLANGE = _tool(0.0, FLANGE_M)
_TCP = _tool(HAND_YAW_RAD, FLANGE_M + TCP_M)
