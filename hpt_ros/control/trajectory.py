"""The robot side's rule: how ros2_control's joint_trajectory_controller reads and follows trajectory messages.

Source: ros2_controllers (Jazzy 4.x), joint_trajectory_controller: a new message replaces the whole trajectory; bad ones
are discarded and the running one goes on; between points the highest interpolation order that both ends allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt_ros.errors import HptRosError

Array = NDArray[np.float64]
Point = tuple[float, ArrayLike, ArrayLike | None, ArrayLike | None]
"""time_from_start [s], positions [rad], velocities [rad/s] or None, accelerations [rad/s^2] or None."""

_Knot = tuple[int, Array, Array | None, Array | None]  # absolute time [ns], then as in Point


class TrajectoryRejected(HptRosError):
    """A trajectory message that the controller discards."""


class JointTrajectoryFollower:
    """The desired motion of one joint_trajectory_controller.

    It starts at rest at `q` (J,) [rad]. After the last point it holds that point for ever: there is no watchdog, so a
    sender must make every trajectory end at rest.
    """

    def __init__(self, names: Sequence[str], q: ArrayLike) -> None:
        self.names = tuple(names)
        self.reset(q)

    def reset(self, q: ArrayLike) -> None:
        """Forget the trajectory and hold `q` (J,) [rad]."""
        self._knots: list[_Knot] = [(0, np.array(q, dtype=float), np.zeros(len(self.names)), None)]
        self._segment = 0

    def accept(
        self,
        names: Sequence[str],
        points: Sequence[Point],
        stamp_ns: int,
        now_ns: int,
        measured: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> None:
        """Replace the trajectory. It sets out at `now_ns` from the desired state, or from `measured` (q, dq) if given.

        `stamp_ns` is the header's; 0 means that the trajectory starts now. Times of one call and the next are of one clock.

        Raises:
            TrajectoryRejected: as the controller would; the running trajectory goes on.
        """
        order = self._order(names)
        self._check(points, stamp_ns, now_ns)
        start_ns = stamp_ns or now_ns
        knots = [
            (start_ns + round(time_s * 1e9), _ordered(q, order), _maybe(dq, order), _maybe(ddq, order))
            for time_s, q, dq, ddq in points
        ]
        q_before, dq_before = self.sample(now_ns) if measured is None else measured
        before = (now_ns, np.array(q_before, dtype=float), np.array(dq_before, dtype=float), None)
        # A first point that is not in the future leaves nothing to interpolate from: the controller jumps.
        self._knots = [before, *knots] if knots[0][0] > now_ns else knots
        self._segment = 0

    def sample(self, now_ns: int) -> tuple[Array, Array]:
        """Desired position [rad] and velocity [rad/s] at a time that does not go back between two `accept` calls."""
        knots = self._knots
        while self._segment + 1 < len(knots) and now_ns >= knots[self._segment + 1][0]:
            self._segment += 1
        if self._segment + 1 == len(knots):
            return knots[-1][1].copy(), np.zeros(len(self.names))
        return _interpolate(knots[self._segment], knots[self._segment + 1], now_ns)

    def _order(self, names: Sequence[str]) -> list[int]:
        if sorted(names) != sorted(self.names):
            raise TrajectoryRejected(f"joint names {list(names)}, expected {list(self.names)}", "send every joint once")
        return [list(names).index(name) for name in self.names]

    def _check(self, points: Sequence[Point], stamp_ns: int, now_ns: int) -> None:
        if not points:
            raise TrajectoryRejected("the trajectory has no points", "send at least one point")
        times = [point[0] for point in points]
        if times[0] < 0 or any(b <= a for a, b in pairwise(times)):
            raise TrajectoryRejected(f"time_from_start {times} does not strictly increase from 0", "sort the points")
        for point in points:
            for values in point[1:]:
                if values is not None and np.shape(values) != (len(self.names),):
                    raise TrajectoryRejected(
                        f"a point with shape {np.shape(values)} for {len(self.names)} joints",
                        "one value per joint in every field that is sent",
                    )
                if values is not None and not np.isfinite(values).all():
                    raise TrajectoryRejected("a point with a value that is not finite", "check the sender's numbers")
        last = points[-1][2]
        if last is not None and np.any(np.asarray(last) != 0):
            raise TrajectoryRejected("the last point has a velocity", "end every trajectory at rest")
        if stamp_ns and stamp_ns + round(times[-1] * 1e9) < now_ns:
            raise TrajectoryRejected("the trajectory ends in the past", "check the clocks and the header's stamp")


def _ordered(values: ArrayLike, order: list[int]) -> Array:
    array: Array = np.asarray(values, dtype=float)[order]
    return array


def _maybe(values: ArrayLike | None, order: list[int]) -> Array | None:
    return None if values is None else _ordered(values, order)


def _interpolate(a: _Knot, b: _Knot, now_ns: int) -> tuple[Array, Array]:
    """Linear, cubic or quintic, by what both ends carry: positions, velocities, accelerations."""
    span, t = (b[0] - a[0]) * 1e-9, (now_ns - a[0]) * 1e-9
    q0, v0, a0 = a[1:]
    q1, v1, a1 = b[1:]
    step = q1 - q0
    if v0 is None or v1 is None:
        return q0 + step * (t / span), step / span
    if a0 is None or a1 is None:
        c2 = (3 * step / span - 2 * v0 - v1) / span
        c3 = (v0 + v1 - 2 * step / span) / span**2
        return q0 + t * (v0 + t * (c2 + t * c3)), v0 + t * (2 * c2 + t * 3 * c3)
    c3 = (20 * step - (8 * v1 + 12 * v0) * span - (3 * a0 - a1) * span**2) / (2 * span**3)
    c4 = (-30 * step + (14 * v1 + 16 * v0) * span + (3 * a0 - 2 * a1) * span**2) / (2 * span**4)
    c5 = (12 * step - 6 * (v1 + v0) * span - (a0 - a1) * span**2) / (2 * span**5)
    q = q0 + t * (v0 + t * (a0 / 2 + t * (c3 + t * (c4 + t * c5))))
    return q, v0 + t * (a0 + t * (3 * c3 + t * (4 * c4 + t * 5 * c5)))
