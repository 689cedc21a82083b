"""The last gate before the arm: every command is inside the robot's limits and can be stopped inside them.

One invariant, held by induction: *the limiter always owns a jerk-limited brake, from the state that was commanded last to
rest, that stays inside the position limits and the workspace.* A step toward a target is commanded only when such a
brake exists from where it would lead; otherwise the brake that the step before proved is executed instead.

The steps come from Ruckig: Berscheid and Kroeger, "Jerk-limited Real-time Trajectory Generation with Arbitrary Target
States", RSS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ruckig
from numpy.typing import ArrayLike, NDArray

from hpt_ros.control.kinematics import tcp_position
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment.schema import Safety
from hpt_ros.errors import HptRosError

Array = NDArray[np.float64]

_ROUNDING = 1e-6  # relative: Ruckig's own results may pass a limit by rounding
_BRAKE_CHECKS = 8  # TCP positions checked along a brake: under 2 mm of path bulge lies between two of them
_BRAKE_SPACING_S = 0.01  # of the points of a brake that is sent, at least
_LINE_CHECKS = 8
_ALTERED_RAD = 1e-6


class UnsafeRequestError(HptRosError):
    """A start or a target that the limiter refuses outright."""


@dataclass(frozen=True)
class JointState:
    """Position [rad], velocity [rad/s] and acceleration [rad/s^2], each (J,)."""

    q: Array
    dq: Array
    ddq: Array


@dataclass(frozen=True)
class LimitedCommand:
    """One period of safe motion.

    `brake` continues from the state to rest, at multiples of the period: (seconds after it, position (J,), velocity (J,)),
    the last velocity 0; empty at rest. `altered`: it is not what was asked for.
    """

    state: JointState
    brake: tuple[tuple[float, Array, Array], ...]
    altered: bool


class Limiter:
    """Turns targets, one per period, into motion inside `safety`.

    Args:
        names: the joints, for messages; their order is that of every vector here.
        period_s: time between two steps.
    """

    def __init__(self, safety: Safety, names: Sequence[str], period_s: float) -> None:
        table = TABLES[safety.limits]
        self.names, self.period_s = tuple(names), period_s
        self.low = np.array(table.position_min) + safety.position_margin_rad
        self.high = np.array(table.position_max) - safety.position_margin_rad
        self.velocity = safety.velocity_fraction * np.array(table.velocity)
        self.acceleration = safety.acceleration_fraction * np.array(table.acceleration)
        self.jerk = safety.jerk_fraction * np.array(table.jerk)
        box = safety.workspace
        self._box = (box.x_m, box.y_m, box.z_m)
        self._solver = ruckig.Ruckig(len(self.names), period_s)
        self._step_input = self._make_input(ruckig.ControlInterface.Position)
        self._step_input.minimum_duration = period_s  # what can be reached within a period is met exactly at its end
        self._brake_input = self._make_input(ruckig.ControlInterface.Velocity)
        self._path = ruckig.Trajectory(len(self.names))
        self._brake = ruckig.Trajectory(len(self.names))
        self._spare = ruckig.Trajectory(len(self.names))
        self._braked_s = 0.0
        self.state: JointState | None = None

    def reset(self, q: ArrayLike) -> None:
        """Start at rest at the measured joints `q` (J,) [rad].

        Raises:
            UnsafeRequestError: outside the position limits or the workspace, or not finite.
        """
        self.state = None
        start = np.array(q, dtype=float)
        for name, value, low, high in zip(self.names, start, self.low, self.high, strict=True):
            if not low <= value <= high:
                raise UnsafeRequestError(
                    f"{name} is at {value:.3f} rad, allowed: {low:.3f} to {high:.3f} (limits less the margin)",
                    "move the arm away from the limit by hand or with the robot's own tools",
                )
        if not self._tool_inside(start.tolist()):
            raise UnsafeRequestError(
                "the tool is at x {:.3f}, y {:.3f}, z {:.3f} m, ".format(*tcp_position(start.tolist()))
                + "the workspace is x {:g} to {:g}, y {:g} to {:g}, z {:g} to {:g}".format(*sum(self._box, ())),
                "move the arm into the workspace by hand, or change safety.workspace",
            )
        rest = JointState(start, np.zeros_like(start), np.zeros_like(start))
        if not self._prove_brake(rest):
            raise UnsafeRequestError("no brake from the start", "report this as a defect")
        self._accept(rest)

    def step(self, q: ArrayLike, dq: ArrayLike, ddq: ArrayLike | None = None) -> LimitedCommand:
        """One period toward a state: position `q` (J,) [rad], velocity `dq` [rad/s], acceleration `ddq` [rad/s^2] or None for 0.

        Raises:
            UnsafeRequestError: a value that is not finite; the state is unchanged.
        """
        wanted = np.array([q, dq, np.zeros(len(self.names)) if ddq is None else ddq], dtype=float)
        if not np.isfinite(wanted).all():
            raise UnsafeRequestError("a target that is not finite reached the limiter", "report this as a defect")
        candidate = self._toward(self._reachable(*wanted))
        if candidate is None or not self._prove_brake(candidate):
            return self.brake()
        self._accept(candidate)
        return self._command(altered=bool(np.abs(candidate.q - wanted[0]).max() > _ALTERED_RAD))

    def brake(self, periods: int = 1) -> LimitedCommand:
        """Go on along the proven brake: decelerate, then hold."""
        self._require_state()
        self._braked_s += periods * self.period_s
        self.state = _state(self._brake, min(self._braked_s, self._brake.duration))
        if self._braked_s >= self._brake.duration:  # rest, without the rounding that would creep
            self.state = JointState(self.state.q, np.zeros_like(self.state.q), np.zeros_like(self.state.q))
        return self._command(altered=True)

    @property
    def at_rest(self) -> bool:
        """Whether the commanded motion has come to its end."""
        return self.state is not None and not self.state.dq.any() and not self.state.ddq.any()

    def _make_input(self, interface: ruckig.ControlInterface) -> ruckig.InputParameter:
        request = ruckig.InputParameter(len(self.names))
        request.control_interface = interface
        request.max_velocity, request.max_acceleration = self.velocity.tolist(), self.acceleration.tolist()
        request.max_jerk = self.jerk.tolist()
        return request

    def _reachable(self, q: Array, dq: Array, ddq: Array) -> JointState:
        """The nearest target worth asking for: inside the position limits, able to stop there, tool inside the workspace."""
        q = np.minimum(np.maximum(q, self.low), self.high)
        if not self._tool_inside(q.tolist()):
            return JointState(self._last_inside(q), np.zeros_like(q), np.zeros_like(q))
        # On the way out a speed is allowed from which half the acceleration limit still stops in time.
        up = np.minimum(self.velocity, np.sqrt(self.acceleration * (self.high - q)))
        down = np.minimum(self.velocity, np.sqrt(self.acceleration * (q - self.low)))
        dq = (1 - _ROUNDING) * np.maximum(np.minimum(dq, up), -down)
        # An acceleration is allowed that the jerk limit takes back before the speed passes its limit.
        room = np.sqrt(2 * self.jerk * (self.velocity - np.abs(dq)))
        most = (1 - _ROUNDING) * np.minimum(self.acceleration, room)
        return JointState(q, dq, np.maximum(np.minimum(ddq, most), -most))

    def _last_inside(self, q: Array) -> Array:
        """The farthest point before the tool leaves the workspace, on the line from where the arm would come to rest to `q`."""
        rest = np.array(self._brake.at_time(self._brake.duration)[0])
        last = rest
        for i in range(1, _LINE_CHECKS):
            point = rest + (i / _LINE_CHECKS) * (q - rest)
            if not self._tool_inside(point.tolist()):
                break
            last = point
        return last

    def _toward(self, target: JointState) -> JointState | None:
        """The state one period on along the fastest motion inside the limits; None if Ruckig finds none."""
        request = self._step_input
        request.target_position, request.target_velocity = target.q.tolist(), target.dq.tolist()
        request.target_acceleration = target.ddq.tolist()
        if not self._solve(request, self._require_state(), self._path):
            return None
        return _state(self._path, self.period_s)

    def _prove_brake(self, state: JointState) -> bool:
        """Whether the state is inside the limits and a brake from it stays there; the brake is left in `_spare`."""
        overshoot = np.where(state.dq * state.ddq > 0, state.ddq**2 / (2 * self.jerk), 0.0)
        if not (
            np.isfinite(state.q).all()
            and (np.abs(state.ddq) <= (1 + _ROUNDING) * self.acceleration).all()
            and (np.abs(state.dq) + overshoot <= (1 + _ROUNDING) * self.velocity).all()
        ):
            return False
        if not self._solve(self._brake_input, state, self._spare):
            return False
        # Points of the brake, and how far the joints can leave the chord between two of them at full acceleration.
        # (Ruckig's own position_extrema are wrong in the Python wheels: they always include 0.)
        spacing_s = self._spare.duration / (_BRAKE_CHECKS - 1)
        path = [self._spare.at_time(i * spacing_s)[0] for i in range(_BRAKE_CHECKS)]
        joints = np.array(path)
        slack = _ROUNDING - self.acceleration * spacing_s**2 / 8
        if (joints < self.low - slack).any() or (joints > self.high + slack).any():
            return False
        return all(map(self._tool_inside, path))

    def _solve(self, request: ruckig.InputParameter, start: JointState, trajectory: ruckig.Trajectory) -> bool:
        request.current_position, request.current_velocity = start.q.tolist(), start.dq.tolist()
        request.current_acceleration = start.ddq.tolist()
        try:
            result = self._solver.calculate(request, trajectory)
        except ruckig.RuckigError:
            return False
        return bool(result in (ruckig.Result.Working, ruckig.Result.Finished)) and math.isfinite(trajectory.duration)

    def _accept(self, state: JointState) -> None:
        self.state = state
        self._brake, self._spare = self._spare, self._brake
        self._braked_s = 0.0

    def _command(self, altered: bool) -> LimitedCommand:
        points = []
        spacing_s = self.period_s * math.ceil(_BRAKE_SPACING_S / self.period_s - _ROUNDING)
        time_s, left_s = 0.0, self._brake.duration - self._braked_s
        while time_s < left_s:
            time_s += spacing_s
            q, dq, _ = self._brake.at_time(min(self._braked_s + time_s, self._brake.duration))
            points.append((time_s, np.array(q), np.array(dq)))
        if points:
            points[-1][2][:] = 0.0
        return LimitedCommand(self._require_state(), tuple(points), altered)

    def _tool_inside(self, q: Sequence[float]) -> bool:
        return all(low <= value <= high for value, (low, high) in zip(tcp_position(q), self._box, strict=True))

    def _require_state(self) -> JointState:
        if self.state is None:
            raise UnsafeRequestError("the limiter was not started at the measured joints", "report this as a defect")
        return self.state


def _state(trajectory: ruckig.Trajectory, time_s: float) -> JointState:
    return JointState(*(np.array(values) for values in trajectory.at_time(time_s)))
