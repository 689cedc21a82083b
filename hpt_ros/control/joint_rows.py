"""Chunks of tool poses as chunks of joint targets, which is all that the schedule and the limiter know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.actions import POSE_COLUMNS, Rows, poses_of
from hpt_ros.control.chunk import Chunk, ChunkRejected
from hpt_ros.control.inverse_kinematics import elbow_part, solve
from hpt_ros.control.kinematics import forward
from hpt_ros.control.limits import TABLES
from hpt_ros.control.merging import linear_mean
from hpt_ros.control.rotation import mean_rotation
from hpt_ros.embodiment import Embodiment

Array = NDArray[np.float64]

REACH_M, REACH_RAD = 0.02, 0.1  # a pose that the arm misses by more is not what the policy has seen
POSTURE_1_S = 0.5  # the elbow goes home at this rate: poses alone would let it wander off over the minutes
_CROOKED = 0.01  # of rot6d, away from two unit vectors at a right angle


class JointRows:
    """Inverse kinematics for the chunks of one embodiment; joint chunks pass as they are."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self.takes_poses = embodiment.chunk_names != embodiment.command_names
        table, margin = TABLES[embodiment.safety.limits], embodiment.safety.position_margin_rad
        self._low, self._high = np.array(table.position_min) + margin, np.array(table.position_max) - margin
        self._home = np.array(embodiment.home_rad)

    def of(self, chunk: Chunk, t_ns: int, q: Array) -> Chunk:
        """The chunk with joint rows; `q` (7,) [rad] is where the arm is told to be at `t_ns`, from which solutions are sought.

        Raises:
            ChunkRejected: six numbers that are no rotation, or a pose that is out of reach.
        """
        if chunk.names == self._embodiment.command_names:
            return chunk
        rows = self.solved(chunk.rows, q, (chunk.due_ns - t_ns) * 1e-9)
        return replace(chunk, rows=rows, names=self._embodiment.command_names)

    def solved(self, rows: Array, q: Array, due_s: Rows) -> Array:
        """Joint rows (H, C) of pose rows (H, P) that are due `due_s` (H,) [s] after the arm is at `q`; otherwise as `of`."""
        _check_rotations(rows)
        poses = poses_of(rows)
        found = solve(poses, q, np.broadcast_to(q, (len(rows), len(q))), self._low, self._high)
        found = solve(poses, found.q, self._as_if_followed(found.q, q, due_s), self._low, self._high)
        worst = int(np.argmax(np.maximum(found.distance_m / REACH_M, found.angle_rad / REACH_RAD)))
        distance_m, angle_rad = float(found.distance_m[worst]), float(found.angle_rad[worst])
        if distance_m > REACH_M or angle_rad > REACH_RAD:
            raise ChunkRejected(
                "unreachable",
                f"row {worst}: the arm comes to {distance_m * 1e3:.0f} mm and {angle_rad:.2f} rad of the pose, "
                f"allowed: {REACH_M * 1e3:.0f} mm and {REACH_RAD:g} rad",
            )
        return np.hstack([found.q, rows[:, POSE_COLUMNS:]])

    def _as_if_followed(self, joints: Array, q: Array, due_s: Rows) -> Array:
        """Postures (H, 7) in which the elbow goes home and does nothing else from row to row.

        Rows solved each from `q` alone differ from those of the next chunk, solved from a `q` further on, by what the elbow
        makes of the way between: a jolt at every chunk.
        """
        share = 1 - np.exp(-POSTURE_1_S * np.diff(np.maximum(due_s, 0.0), prepend=0.0))
        moved = np.diff(joints, axis=0, prepend=q[None])
        stray = elbow_part(joints, moved - share[:, None] * (self._home - joints))
        followed: Array = joints - np.cumsum(stray, axis=0)
        return followed

    def mean(self, joints: Array, weights: Array) -> Array:
        """What several chunks want at N times, (K, N, J) [rad] with weights (K, N), as one (N, J).

        Poses have the mean of their positions, and of their rotations on the manifold; joints that of their angles.
        """
        middle = linear_mean(joints, weights)
        if not self.takes_poses or len(joints) == 1:
            return middle
        share = weights / weights.sum(axis=0)
        told = forward(joints)
        poses = np.tile(np.eye(4), (len(middle), 1, 1))
        poses[:, :3, 3] = linear_mean(told[..., :3, 3], weights)
        poses[:, :3, :3] = mean_rotation(told[..., :3, :3], share)
        return solve(poses, middle, middle, self._low, self._high).q


def _check_rotations(rows: Array) -> None:
    axes = rows[:, 3:POSE_COLUMNS].reshape(-1, 2, 3)
    off = np.abs(axes @ axes.swapaxes(1, 2) - np.eye(2)).max(axis=(1, 2))
    if off.max() > _CROOKED:
        worst = int(off.argmax())
        raise ChunkRejected("rotation", f"row {worst}: {np.round(axes[worst], 3).tolist()} are no two axes of a frame")
