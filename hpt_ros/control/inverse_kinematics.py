"""Joint angles for many tool poses at once: Newton steps by damped least squares, inside the joint limits.

The arm has one joint more than a pose needs: of the angles that reach a pose those next to a wished posture are taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.kinematics import joint_frames, pose_error, tool, tool_jacobian

Array = NDArray[np.float64]

_STEPS = 12
_DAMPING = 0.02  # bounds a step near singularities; where the arm can go, the next steps make good what it holds back
_ROUNDING = 1e-9  # keeps the null space defined where the arm is singular
_LONGEST_STEP_RAD = 0.5
_ARRIVED, _SETTLED_RAD = 1e-5, 1e-3  # of the pose [m, rad]; of the joints in a step


class Solution(NamedTuple):
    """Joint angles (N, 7) [rad], and what is left to the pose: distance (N,) [m] and angle (N,) [rad]."""

    q: Array
    distance_m: Array
    angle_rad: Array


def solve(poses: Array, seed: Array, posture: Array, low: Array, high: Array) -> Solution:
    """Joint angles for poses (N, 4, 4) of the TCP in the base frame, each sought from `seed` (7,) or (N, 7) [rad].

    Args:
        posture: angles (N, 7) [rad]; of the solutions the nearest to it is approached.
        low: joint limits (7,) [rad], as `high`; a pose beyond them is approached as far as the steps lead.
    """
    q = np.clip(np.broadcast_to(seed, posture.shape), low, high)
    for _ in range(_STEPS):
        frames = joint_frames(q)
        error = pose_error(tool(frames), poses)
        step = _step(tool_jacobian(frames), error, posture - q, np.ones_like(q))
        free = (q + step >= low) & (q + step <= high)
        if not free.all():  # the others make up for a joint that is at its limit
            step = np.where(free, _step(tool_jacobian(frames), error, posture - q, free.astype(float)), step)
        q = np.clip(q + step, low, high)
        if np.abs(error).max() < _ARRIVED and np.abs(step).max() < _SETTLED_RAD:
            break
    error = pose_error(tool(joint_frames(q)), poses)
    return Solution(q, np.linalg.norm(error[:, :3], axis=1), np.linalg.norm(error[:, 3:], axis=1))


def elbow_part(q: Array, dq: Array) -> Array:
    """Of joint displacements dq (N, 7) at angles q (N, 7) [rad] the part that leaves the TCP where it is: the elbow's."""
    return _null_part(tool_jacobian(joint_frames(q)), dq)


def _null_part(jacobian: Array, dq: Array) -> Array:
    transposed = jacobian.swapaxes(1, 2)
    gram = jacobian @ transposed + _ROUNDING * np.eye(6)  # damped more, it would hold the tool off the pose
    rest: Array = dq - (transposed @ np.linalg.solve(gram, jacobian @ dq[..., None]))[..., 0]
    return rest


def _step(jacobian: Array, error: Array, wished: Array, free: Array) -> Array:
    """Joint steps (N, 7) that remove the error (N, 6), and of the wished steps (N, 7) the part that leaves the TCP alone."""
    matrix = jacobian * free[:, None, :]
    transposed = matrix.swapaxes(1, 2)
    toward = np.linalg.solve(matrix @ transposed + _DAMPING**2 * np.eye(6), error[..., None])
    step = (transposed @ toward)[..., 0] + _null_part(matrix, wished * free)
    longest = np.abs(step).max(axis=1, keepdims=True)
    shortened: Array = step * np.minimum(1.0, _LONGEST_STEP_RAD / np.maximum(longest, 1e-9))
    return shortened
