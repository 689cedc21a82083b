"""What a person wants, device by device: a stick's twist, a tracked hand, a leader arm, the way home."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.kinematics import forward, pose_error
from hpt_ros.control.rotation import matrix_of_quaternion, matrix_of_vector
from hpt_ros.teleop.config import Device, LeaderSource, PoseSource, Speed
from hpt_ros.teleop.decode import DeviceRefused
from hpt_ros.teleop.ik import Motion

Array = NDArray[np.float64]

_POSE_GAIN_1_S = 8.0
_LEADER_GAIN_1_S = 8.0
_HOME_GAIN_1_S = 2.5
_HOME_REACHED_RAD = 0.005
_RAMP_START = 0.1  # of full speed, when a leader arm is followed anew
_SLACK_IN_MOTION = 2.0  # a leader may run ahead of an arm that follows by this many times the first mismatch


@dataclass(frozen=True)
class Settings:
    """What buttons change: frame of a twist, factor on the speeds."""

    frame: str
    scale: float


@dataclass(frozen=True)
class Intent:
    """`neutral`: the person has let go. `drive`: the arm is to move. `moved`: the device itself was moved."""

    neutral: bool
    drive: bool
    moved: bool = False


class Pilot(ABC):
    """One device's newest input as a wanted motion."""

    @abstractmethod
    def intent(self, deadman: bool | None, q: Array, active: bool) -> Intent:
        """What the person wants now; `deadman` None: the device has none.

        Raises:
            DeviceRefused: the input cannot be followed from joint angles `q` (7,) [rad].
        """

    def begin(self, q: Array, settings: Settings) -> None:  # noqa: B027  not every device has something to begin
        """The arm is taken hold of at joint angles `q` (7,) [rad]."""

    @abstractmethod
    def advance(self, active: bool, settings: Settings, step_s: float) -> bool:
        """Let `step_s` pass; whether there is a motion to carry out."""

    @abstractmethod
    def motion(self, q: Array, ahead_s: float) -> Motion:
        """The motion wanted at joint angles `q` (7,) [rad], `ahead_s` from now if the device says nothing new."""


class TwistPilot(Pilot):
    """Deflections (6,) of a stick -> a TCP twist that speeds up and slows down evenly."""

    def __init__(self, device: Device, home: Array) -> None:
        speed = device.speed
        self._full = np.repeat([speed.linear_m_s, speed.angular_rad_s], 3)
        self._change = np.repeat([speed.linear_m_s2, speed.angular_rad_s2], 3)
        self._posture_gain, self._home = device.posture_gain_1_s, home
        self._deflection, self._wanted, self._twist = np.zeros(6), np.zeros(6), np.zeros(6)
        self._frame: str = device.frame

    def take(self, deflection: Array) -> None:
        """The newest message."""
        self._deflection = deflection

    def intent(self, deadman: bool | None, q: Array, active: bool) -> Intent:
        moved = bool(self._deflection.any())
        return Intent(not moved, moved, moved) if deadman is None else Intent(not deadman, deadman, moved)

    def advance(self, active: bool, settings: Settings, step_s: float) -> bool:
        if not self._twist.any():
            self._frame = settings.frame  # never in the middle of a motion
        if not active:  # the target brakes by itself, at the arm's own limits
            self._wanted = self._twist = np.zeros(6)
            return False
        self._wanted = settings.scale * self._full * self._deflection
        self._twist = self._after(step_s)
        return bool(self._twist.any() or self._wanted.any())

    def motion(self, q: Array, ahead_s: float) -> Motion:
        twist = self._after(ahead_s)
        pace = float(np.abs(twist / self._full).max())
        if self._frame == "tool":
            twist = (forward(q)[:3, :3] @ twist.reshape(2, 3).T).T.ravel()
        return Motion(twist=twist, posture=self._posture_gain * pace * (self._home - q))

    def _after(self, step_s: float) -> Array:
        room = self._change * step_s
        changed: Array = self._twist + np.clip(self._wanted - self._twist, -room, room)
        return changed


class PosePilot(Pilot):
    """The tool follows a tracked hand from where both were when the clutch closed."""

    def __init__(self, device: Device, source: PoseSource) -> None:
        self._source, self._speed = source, device.speed
        self._to_base = matrix_of_quaternion(source.device_to_base_wxyz)
        self._pose: Array | None = None
        self._anchor: tuple[Array, Array] | None = None  # the hand and the tool when the clutch closed
        self._target: Array | None = None
        self._settings = Settings(device.frame, device.speed.scale)

    def take(self, pose: Array) -> None:
        """The newest pose (4, 4) in the tracker's frame.

        Raises:
            DeviceRefused: it has jumped; the next one counts from there.
        """
        before, self._pose = self._pose, pose
        if before is None:
            return
        step = pose_error(before, pose)
        jump_m, jump_rad = float(np.linalg.norm(step[:3])), float(np.linalg.norm(step[3:]))
        if jump_m > self._source.max_jump_m or jump_rad > self._source.max_jump_rad:
            raise DeviceRefused(
                f"the tracker jumped by {jump_m:.2f} m and {jump_rad:.2f} rad, allowed: {self._source.max_jump_m:g} m and "
                f"{self._source.max_jump_rad:g} rad",
                "open the clutch and close it again",
            )

    def forget(self) -> None:
        """After a silence the next pose may be anywhere."""
        self._pose = None

    def intent(self, deadman: bool | None, q: Array, active: bool) -> Intent:
        return Intent(not deadman, bool(deadman) and self._pose is not None)

    def begin(self, q: Array, settings: Settings) -> None:
        assert self._pose is not None, "the intent was to drive"
        self._anchor, self._settings = (self._pose, forward(q)), settings

    def advance(self, active: bool, settings: Settings, step_s: float) -> bool:
        self._target = self._follow(*self._anchor) if active and self._anchor else None
        if not active:
            self._anchor = None
        return self._target is not None

    def motion(self, q: Array, ahead_s: float) -> Motion:
        assert self._target is not None, "there is a motion to carry out"
        twist = _POSE_GAIN_1_S * pose_error(forward(q), self._target)
        return Motion(twist=_within(twist, self._speed, self._settings.scale))

    def _follow(self, hand: Array, tool: Array) -> Array:
        """The tool's pose for the newest pose of the hand. In the tool frame the hand's own axes move the tool's own."""
        assert self._pose is not None, "the clutch was closed on a pose"
        target = np.eye(4)
        if self._settings.frame == "tool":
            turn = hand[:3, :3].T @ self._pose[:3, :3]
            path = tool[:3, :3] @ hand[:3, :3].T @ (self._pose[:3, 3] - hand[:3, 3])
            target[:3, :3] = tool[:3, :3] @ self._scaled(turn)
        else:
            turn = self._to_base @ self._pose[:3, :3] @ hand[:3, :3].T @ self._to_base.T
            path = self._to_base @ (self._pose[:3, 3] - hand[:3, 3])
            target[:3, :3] = self._scaled(turn) @ tool[:3, :3]
        target[:3, 3] = tool[:3, 3] + self._source.position_scale * path
        return target

    def _scaled(self, turn: Array) -> Array:
        pose = np.eye(4)
        pose[:3, :3] = turn
        return matrix_of_vector(self._source.rotation_scale * pose_error(np.eye(4), pose)[3:])


class LeaderPilot(Pilot):
    """The joints follow a leader arm, slowly at first, and only while it is near."""

    def __init__(self, source: LeaderSource, arm_names: Sequence[str], velocity: Array) -> None:
        self._source, self._names, self._velocity = source, tuple(arm_names), velocity
        self._joints: Array | None = None
        self._followed_s = 0.0
        self._scale = 1.0

    def take(self, joints: Array) -> None:
        """The newest angles (7,) [rad] that the leader asks for."""
        self._joints = joints

    def intent(self, deadman: bool | None, q: Array, active: bool) -> Intent:
        if self._joints is None:
            return Intent(False, False)
        if deadman is False:
            return Intent(True, False)
        gap, allowed = self._joints - q, self._source.mismatch_rad * (_SLACK_IN_MOTION if active else 1.0)
        worst = int(np.abs(gap).argmax())
        if abs(gap[worst]) > allowed:
            raise DeviceRefused(
                f"{self._names[worst]}: the leader is at {self._joints[worst]:.2f} rad, the arm at {q[worst]:.2f} rad, "
                f"allowed between them: {allowed:g} rad",
                "bring the leader to the arm's posture",
            )
        return Intent(deadman is None, True)

    def begin(self, q: Array, settings: Settings) -> None:
        self._followed_s = 0.0

    def advance(self, active: bool, settings: Settings, step_s: float) -> bool:
        self._followed_s += step_s
        self._scale = settings.scale
        return active

    def motion(self, q: Array, ahead_s: float) -> Motion:
        assert self._joints is not None, "the intent was to drive"
        share = min(1.0, self._followed_s / self._source.ramp_s) if self._source.ramp_s else 1.0
        most = self._scale * self._velocity * (_RAMP_START + (1 - _RAMP_START) * share)
        return Motion(joints=np.clip(_LEADER_GAIN_1_S * (self._joints - q), -most, most))


def homeward(q: Array, home: Array, velocity: Array) -> Motion | None:
    """The straight way home in joint space, no joint faster than `velocity` (7,) [rad/s]; None when there."""
    way = home - q
    if np.abs(way).max() < _HOME_REACHED_RAD:
        return None
    return Motion(joints=way * min(_HOME_GAIN_1_S, 1 / float(np.max(np.abs(way) / velocity))))


def _within(twist: Array, speed: Speed, scale: float) -> Array:
    """The twist with its linear and angular part shortened to full speed."""
    lengths = np.linalg.norm(twist.reshape(2, 3), axis=1)
    most = scale * np.array([speed.linear_m_s, speed.angular_rad_s])
    shortened: Array = twist * np.repeat(np.minimum(1.0, most / np.maximum(lengths, 1e-12)), 3)
    return shortened
