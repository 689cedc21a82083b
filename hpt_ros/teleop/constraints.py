"""What joint velocities are allowed in one posture: bounds per joint, and half-spaces `normal . dq <= most`.

Every bound on a distance becomes a bound on its rate that shrinks with the room that is left (velocity damper: Faverjon and
Tournassoud, "A local based approach for path planning of manipulators with a high number of degrees of freedom", ICRA 1987).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.capsules import SelfDistance
from hpt_ros.control.kinematics import joint_frames, point_jacobian, tool
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment.schema import Safety

Array = NDArray[np.float64]

JOINT_POSITION, JOINT_VELOCITY, SELF_COLLISION, WORKSPACE = (
    "joint position",
    "joint velocity",
    "self-collision",
    "workspace",
)
ARM_LAGS = "arm lags behind"

_VELOCITY_SHARE, _ACCELERATION_SHARE = 0.9, 0.8  # of the commander's limits, so that its limiter has little to alter
_DAMPER_1_S = 5.0
_LAG_DAMPER_1_S = 10.0
_POSITION_MARGIN_RAD = 0.02  # inside the commander's own
_WORKSPACE_MARGIN_M = 0.008  # what a fast turn along a wall may cut off
CLEARANCE_M = 0.01  # between capsules
_INFLUENCE_M = 0.2
_BRAKING_M_S2 = 0.4  # with which the arm can stop before a wall in most postures
_RECOVERY_RAD_S, _RECOVERY_M_S = 0.05, 0.06  # back inside a bound that is passed


@dataclass(frozen=True)
class Allowed:
    """`low <= dq <= high` (7,) [rad/s] with the kind of each bound, and `normals @ dq <= most` (M, 7), (M,) with theirs."""

    low: Array
    high: Array
    low_kinds: tuple[str, ...]
    high_kinds: tuple[str, ...]
    normals: Array
    most: Array
    kinds: tuple[str, ...]


class Constraints:
    """The limits of one embodiment's `safety`, seen from where the arm is."""

    def __init__(self, safety: Safety) -> None:
        table, box = TABLES[safety.limits], safety.workspace
        margin = safety.position_margin_rad + _POSITION_MARGIN_RAD
        self.low = np.array(table.position_min) + margin
        self.high = np.array(table.position_max) - margin
        self.velocity = _VELOCITY_SHARE * safety.velocity_fraction * np.array(table.velocity)
        self.acceleration = _ACCELERATION_SHARE * safety.acceleration_fraction * np.array(table.acceleration)
        faces = np.array([box.x_m, box.y_m, box.z_m])
        self._box_low, self._box_high = faces[:, 0] + _WORKSPACE_MARGIN_M, faces[:, 1] - _WORKSPACE_MARGIN_M
        self._distances = SelfDistance()

    def at(self, q: Array, window: tuple[Array, Array] | None = None) -> Allowed:
        """What is allowed at joint angles `q` (7,) [rad].

        Args:
            window: angles (low (7,), high (7,)) [rad] that the targets must not leave, around where the arm really is.
        """
        frames = joint_frames(q)
        high, high_kinds = self._bound(self.high - q, None if window is None else window[1] - q)
        low, low_kinds = self._bound(q - self.low, None if window is None else q - window[0])
        walls, wall_rates = self._walls(frames)
        near, near_rates = self._near(frames)
        return Allowed(
            np.minimum(-low, high),
            high,
            low_kinds,
            high_kinds,
            np.vstack([walls, near]),
            np.concatenate([wall_rates, near_rates]),
            (WORKSPACE,) * len(walls) + (SELF_COLLISION,) * len(near),
        )

    def _bound(self, room: Array, lag_room: Array | None) -> tuple[Array, tuple[str, ...]]:
        """The speed allowed toward a limit `room` away, and which limit that is."""
        options = [self.velocity, self._damped(room)]
        if lag_room is not None:
            options.append(_LAG_DAMPER_1_S * lag_room)
        rates = np.stack(options)
        names = (JOINT_VELOCITY, JOINT_POSITION, ARM_LAGS)
        return rates.min(axis=0), tuple(names[i] for i in rates.argmin(axis=0))

    def _damped(self, room: Array) -> Array:
        braking = np.sqrt(self.acceleration * np.maximum(room, 0.0))  # half of the acceleration limit stops in time
        inward = np.maximum(_DAMPER_1_S * room, -_RECOVERY_RAD_S)
        return np.where(room < 0, inward, np.minimum(_DAMPER_1_S * room, braking))

    def _walls(self, frames: Array) -> tuple[Array, Array]:
        tcp = tool(frames)[:3, 3]
        motion = point_jacobian(frames, tcp)
        room = np.concatenate([self._box_high - tcp, tcp - self._box_low])
        return _rates(np.vstack([motion, -motion]), room)

    def _near(self, frames: Array) -> tuple[Array, Array]:
        distance, gradient = self._distances.measure(frames)
        return _rates(-gradient, distance - CLEARANCE_M)


def _rates(normals: Array, room_m: Array) -> tuple[Array, Array]:
    near = room_m < _INFLUENCE_M
    room_m = room_m[near]
    braking = np.sqrt(_BRAKING_M_S2 * np.maximum(room_m, 0.0))
    inward = np.maximum(2 * _DAMPER_1_S * room_m, -_RECOVERY_M_S)
    return normals[near], np.where(room_m < 0, inward, np.minimum(_DAMPER_1_S * room_m, braking))
