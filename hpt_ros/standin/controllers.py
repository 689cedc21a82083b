"""The controllers that a lab loads, as far as a sender can tell them apart: what they take, what they hold, how they get there.

Sources: ros2_controllers (joint_trajectory_controller, forward_command_controller), crisp_controllers, multipanda_ros2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt_ros.control.kinematics import differential_ik, forward, pose_error
from hpt_ros.control.trajectory import JointTrajectoryFollower, Point
from hpt_ros.errors import HptRosError

Array = NDArray[np.float64]

_FILTER = 0.1  # crisp: share of the way to the target in each millisecond
_POSE_RATE = 15.0  # [1/s] at which a pose error decays under crisp's default gains, as a first-order system
_POSTURE_RATE = 0.5  # [1/s]
_POSE_CLIP = np.array([0.1] * 3 + [0.5] * 3)  # crisp: error_clip [m], [rad]
_POSE_PERIOD = 5  # milliseconds between two solutions of the kinematics


class CommandDiscarded(HptRosError):
    """A message that the controller ignores; the motion in force goes on."""


class Controller(ABC):
    """One arm controller; it is asked once in every millisecond."""

    @abstractmethod
    def activate(self, q: ArrayLike) -> None:
        """Take over an arm that stands at `q` (7,) [rad]: hold it there."""

    @abstractmethod
    def sample(self, now_ns: int, q: Array) -> tuple[Array, Array]:
        """Reference position [rad] and velocity [rad/s] at a time; `q` is what is measured."""


class Trajectory(Controller):
    """joint_trajectory_controller. It holds the last point for ever.

    Args:
        from_desired: `interpolate_from_desired_state` (Jazzy) or `open_loop_control` (Humble); without it every message
            sets out from the measured state.
    """

    def __init__(self, names: Sequence[str], q: ArrayLike, from_desired: bool = True) -> None:
        self._follower = JointTrajectoryFollower(names, q)
        self._from_desired = from_desired

    def activate(self, q: ArrayLike) -> None:
        self._follower.reset(q)

    def sample(self, now_ns: int, q: Array) -> tuple[Array, Array]:
        return self._follower.sample(now_ns)

    def accept(
        self, names: Sequence[str], points: Sequence[Point], stamp_ns: int, now_ns: int, measured: tuple[Array, Array]
    ) -> None:
        """Replace the trajectory; `measured` is the arm's position and velocity.

        Raises:
            TrajectoryRejected: as the controller would; the running trajectory goes on.
        """
        self._follower.accept(names, points, stamp_ns, now_ns, None if self._from_desired else measured)


class JointTarget(Controller):
    """An impedance controller that follows the newest target through a filter and holds it for ever; by index, never by name.

    crisp's `target_joint` and multipanda's `joints_desired`.
    """

    def __init__(self, q: ArrayLike) -> None:
        self.activate(q)

    def activate(self, q: ArrayLike) -> None:
        self._target = np.array(q, dtype=float)
        self._reference = self._target.copy()

    def accept(self, values: ArrayLike) -> None:
        """A target (7,) [rad].

        Raises:
            CommandDiscarded: not seven finite numbers.
        """
        self._target = _seven(values)

    def sample(self, now_ns: int, q: Array) -> tuple[Array, Array]:
        self._reference = self._reference + _FILTER * (self._target - self._reference)
        return self._reference, np.zeros(7)


class PoseTarget(Controller):
    """crisp's cartesian impedance controller: `target_pose`, its error clipped, with the start posture in the null space."""

    def __init__(self, q: ArrayLike) -> None:
        self.activate(q)

    def activate(self, q: ArrayLike) -> None:
        self._reference = np.array(q, dtype=float)
        self._posture = self._reference.copy()
        self._target = forward(q)
        self._dq = np.zeros(7)
        self._count = 0

    def accept(self, pose: Array) -> None:
        """A pose (4, 4) of the tool centre point in the base frame.

        Raises:
            CommandDiscarded: not finite, or no rotation.
        """
        rotation = pose[:3, :3]
        if not np.isfinite(pose).all() or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3:
            raise CommandDiscarded(f"target pose {pose.tolist()}, expected a finite pose")
        self._target = np.array(pose)

    def sample(self, now_ns: int, q: Array) -> tuple[Array, Array]:
        if self._count % _POSE_PERIOD == 0:
            error = np.clip(pose_error(forward(self._reference), self._target), -_POSE_CLIP, _POSE_CLIP)
            self._dq = differential_ik(
                self._reference, _POSE_RATE * error, posture=_POSTURE_RATE * (self._posture - self._reference)
            )
        self._count += 1
        self._reference = self._reference + 1e-3 * self._dq
        return self._reference, self._dq


class ForwardPosition(Controller):
    """forward_command_controller on the position interface: the last set-point at once, no interpolation, no time-out."""

    def __init__(self, q: ArrayLike) -> None:
        self.activate(q)

    def activate(self, q: ArrayLike) -> None:
        self._target = np.array(q, dtype=float)

    def accept(self, values: ArrayLike) -> None:
        """Set-points (7,) [rad].

        Raises:
            CommandDiscarded: not seven finite numbers.
        """
        self._target = _seven(values)

    def sample(self, now_ns: int, q: Array) -> tuple[Array, Array]:
        return self._target, np.zeros(7)


class ForwardVelocity(Controller):
    """forward_command_controller on the velocity interface: the last velocity for ever."""

    def __init__(self, q: ArrayLike) -> None:
        self.activate(q)

    def activate(self, q: ArrayLike) -> None:
        self._reference = np.array(q, dtype=float)
        self._dq = np.zeros(7)

    def accept(self, values: ArrayLike) -> None:
        """Velocities (7,) [rad/s].

        Raises:
            CommandDiscarded: not seven finite numbers.
        """
        self._dq = _seven(values)

    def sample(self, now_ns: int, q: Array) -> tuple[Array, Array]:
        self._reference = self._reference + 1e-3 * self._dq
        return self._reference, self._dq


def _seven(values: ArrayLike) -> Array:
    array = np.array(values, dtype=float)
    if array.shape != (7,) or not np.isfinite(array).all():
        raise CommandDiscarded(f"target {array.tolist()}, expected seven finite numbers")
    return array
