"""Messages of devices -> plain values, or a refusal that says what was wrong with them. Messages are read by attribute only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt_ros.control.rotation import matrix_of_quaternion
from hpt_ros.errors import HptRosError
from hpt_ros.teleop.config import MOTIONS, AxesSource, Buttons, LeaderSource, TwistSource

Array = NDArray[np.float64]

_FULL_DEFLECTION_LIMIT = 1.5  # a device that sends more is scaled wrongly
_QUATERNION_TOLERANCE = 0.05


class DeviceRefused(HptRosError):
    """A message of a device that is not followed; the arm stops."""


def twist_of(message: Any, source: TwistSource) -> Array:
    """Deflections (6,) in -1 to 1: x, y, z, roll, pitch, yaw of a Twist or TwistStamped."""
    twist = message.twist if source.stamped else message
    parts = (twist.linear, twist.angular)
    return _deflections([v for part in parts for v in (part.x, part.y, part.z)], source.dead_zone, source.topic)


def twist_of_axes(message: Any, source: AxesSource) -> Array:
    """Deflections (6,) of a Joy message: the sum of what is mapped to each motion."""
    count = len(message.axes)
    if count != source.count:
        raise DeviceRefused(
            f"{source.topic}: {count} axes, expected {source.count}",
            "choose the preset of this device, or correct count",
        )
    values = np.zeros(len(MOTIONS))
    for axis in source.axes:
        if axis.axis is not None:
            value = float(message.axes[axis.axis])
        else:
            assert axis.button is not None, "checked by Axis"
            value = float(bool(_button(message.buttons, axis.button, source.topic)))
        values[MOTIONS.index(axis.to)] += axis.scale * value
    return _deflections(values, source.dead_zone, source.topic)


def actions_of(message: Any, buttons: Buttons) -> frozenset[str]:
    """The actions whose buttons are held, of a Joy message."""
    return frozenset(
        action for action, index in buttons.indices.items() if _button(message.buttons, index, buttons.topic)
    )


def pose_of(message: Any, topic: str) -> Array:
    """Pose (4, 4) of a PoseStamped in the tracker's frame [m]."""
    position, orientation = message.pose.position, message.pose.orientation
    xyz = _finite([position.x, position.y, position.z], topic)
    wxyz = _finite([orientation.w, orientation.x, orientation.y, orientation.z], topic)
    norm = float(np.linalg.norm(wxyz))
    if abs(norm - 1) > _QUATERNION_TOLERANCE:
        raise DeviceRefused(f"{topic}: a quaternion of length {norm:.2f}, expected 1", "is the tracker tracked?")
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = matrix_of_quaternion(wxyz / norm), xyz
    return pose


def leader_joints(message: Any, source: LeaderSource) -> tuple[Array, float | None]:
    """Joint angles (J,) [rad] of the arm that the leader asks for, and how far it holds the gripper open (0 to 1), if it says."""
    found = dict(zip(message.name, message.position, strict=False))
    wanted = [*source.names, *([source.gripper_joint] if source.gripper_joint else [])]
    if missing := [name for name in wanted if name not in found]:
        raise DeviceRefused(
            f"{source.topic}: no joint {missing}, found {list(found)}", "correct leader.names in the device's file"
        )
    angles = _finite([found[name] for name in source.names], source.topic)
    joints = np.array(source.signs) * angles + np.array(source.offsets_rad)
    if not source.gripper_joint:
        return joints, None
    value = _finite([found[source.gripper_joint]], source.topic)[0]
    span = source.gripper_open - source.gripper_closed
    return joints, float(np.clip((value - source.gripper_closed) / span, 0.0, 1.0))


def opening_of(message: Any, topic: str) -> float:
    """How far a Float32 holds the gripper open: 0 to 1."""
    return float(np.clip(_finite([message.data], topic)[0], 0.0, 1.0))


def _deflections(values: ArrayLike, dead_zone: float, topic: str) -> Array:
    """Clipped to -1 to 1, with the rest beside the dead zone stretched over the whole range: no jump at its edge."""
    array = _finite(values, topic)
    if np.abs(array).max() > _FULL_DEFLECTION_LIMIT:
        raise DeviceRefused(
            f"{topic}: a deflection of {np.abs(array).max():.2f}, expected -1 to 1", "set the driver's scale to 1"
        )
    beyond = np.maximum(np.abs(array) - dead_zone, 0.0) / (1 - dead_zone)
    clipped: Array = np.sign(array) * np.minimum(beyond, 1.0)
    return clipped


def _button(values: Any, index: int, topic: str) -> bool:
    if index >= len(values):
        raise DeviceRefused(
            f"{topic}: {len(values)} buttons, expected more than {index}", "choose the preset of this device"
        )
    return bool(values[index])


def _finite(values: ArrayLike, topic: str) -> Array:
    array = np.asarray(values, dtype=float)
    if bad := sum(not math.isfinite(v) for v in array.ravel()):
        raise DeviceRefused(f"{topic}: {bad} values are not finite", "restart the device's driver")
    return array
