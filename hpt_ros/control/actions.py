"""Kinds of actions: commanded joints -> the policy's rows (labels), and the policy's rows -> the chunk it sends.

Rows of differences are taken from the state *of the observation*, every row of a chunk from the same one, not each from the
row before: an error in one row does not reach the next, rows may be dropped, overtaken or averaged, and the state is one
that training and serving both know to the bit.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.kinematics import forward, pose_error
from hpt_ros.control.rotation import matrix_of_six, matrix_of_vector, six_of_matrix
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.columns import ActionKind

Array = NDArray[np.float64]
Rows = NDArray[np.floating[Any]]
POSE_COLUMNS = 9
_LEAST_M, _LEAST_RAD = 0.01, 0.1


class ActionSpace(Protocol):
    """One kind of action of one arm. Rows end with the gripper width [m], if there is one, in every kind.

    `relative`: a row depends on the state of the observation that the chunk answers.
    """

    relative: bool

    def encode(self, commands: Rows, state: Rows) -> NDArray[np.float32]:
        """Labels (..., H, A) of commands (..., H, C), joints [rad] then width, for observations of the state (..., S)."""

    def decode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        """The rows (..., H, P), with the columns `chunk_columns`, that a policy's rows (..., H, A) mean in that state."""

    def undecode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        """The policy's rows (..., H, A) that mean these rows (..., H, P) in that state."""


class _JointPosition:
    relative = False

    def encode(self, commands: Rows, state: Rows) -> NDArray[np.float32]:
        return np.asarray(commands, np.float32)

    def decode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        return np.asarray(rows, np.float32)

    def undecode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        return np.asarray(rows, np.float32)


class _JointDelta:
    relative = True

    def __init__(self, joints: int) -> None:
        self._joints = joints

    def encode(self, commands: Rows, state: Rows) -> NDArray[np.float32]:
        return self._moved(commands, state, -1.0)

    def decode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        return self._moved(rows, state, 1.0)

    def undecode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        return self._moved(rows, state, -1.0)

    def _moved(self, rows: Rows, state: Rows, sign: float) -> NDArray[np.float32]:
        moved = np.array(rows, np.float64)
        moved[..., : self._joints] += sign * state[..., None, : self._joints]
        return moved.astype(np.float32)


class _EndEffectorPose:
    relative = False

    def __init__(self, joints: int) -> None:
        self._joints = joints

    def encode(self, commands: Rows, state: Rows) -> NDArray[np.float32]:
        poses = pose_rows(forward(commands[..., : self._joints]))
        return _joined(poses, commands[..., self._joints :])

    def decode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        return _joined(pose_rows(poses_of(rows)), rows[..., POSE_COLUMNS:])

    def undecode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        return np.asarray(rows, np.float32)


class _EndEffectorDelta:
    relative = True

    def __init__(self, joints: int) -> None:
        self._joints = joints

    def encode(self, commands: Rows, state: Rows) -> NDArray[np.float32]:
        twists = pose_error(self._begin(state), forward(commands[..., : self._joints]))
        return _joined(twists, commands[..., self._joints :])

    def decode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        begin = self._begin(state)
        position = begin[..., :3, 3] + rows[..., :3]
        rotation = matrix_of_vector(np.asarray(rows[..., 3:6], np.float64)) @ begin[..., :3, :3]
        return _joined(np.concatenate([position, six_of_matrix(rotation)], axis=-1), rows[..., 6:])

    def undecode(self, rows: Rows, state: Rows) -> NDArray[np.float32]:
        return _joined(pose_error(self._begin(state), poses_of(rows)), rows[..., POSE_COLUMNS:])

    def _begin(self, state: Rows) -> Array:
        """Measured poses (..., 1, 4, 4)."""
        return forward(state[..., None, : self._joints])


def action_space(embodiment: Embodiment) -> ActionSpace:
    """The kind of action that an embodiment names."""
    kind, joints = embodiment.action.kind, len(embodiment.joints.names)
    kinds: dict[ActionKind, ActionSpace] = {
        "joint_position": _JointPosition(),
        "joint_delta": _JointDelta(joints),
        "ee_pose": _EndEffectorPose(joints),
        "ee_delta": _EndEffectorDelta(joints),
    }
    return kinds[kind]


def least_ranges(embodiment: Embodiment) -> Array:
    """By column of the policy's rows: a range below which normalisation must not stretch it, 0 for none.

    A tool that always points down has no rotation to learn; stretched to the full range, its millidegrees would be what the
    loss is about. Entries of a rotation matrix keep their scale altogether.
    """
    if embodiment.action.kind not in ("ee_pose", "ee_delta"):
        return np.zeros(len(embodiment.action_names))
    return np.array([{"m": _LEAST_M, "rad": _LEAST_RAD, "1": 2.0}[c.unit] for c in embodiment.action_columns])


def pose_rows(poses: Array) -> Array:
    """Position [m] and rot6d (..., 9) of poses (..., 4, 4)."""
    return np.concatenate([poses[..., :3, 3], six_of_matrix(poses[..., :3, :3])], axis=-1)


def poses_of(rows: Rows) -> Array:
    """Poses (..., 4, 4) of rows (..., 9 or more) of position [m] and rot6d; NaN where the six are no two directions."""
    poses = np.zeros((*rows.shape[:-1], 4, 4))
    poses[..., 3, 3] = 1.0
    poses[..., :3, 3] = rows[..., :3]
    poses[..., :3, :3] = matrix_of_six(np.asarray(rows[..., 3:POSE_COLUMNS], np.float64))
    return poses


def _joined(arm: Array, gripper: Rows) -> NDArray[np.float32]:
    return np.concatenate([arm, gripper], axis=-1).astype(np.float32)
