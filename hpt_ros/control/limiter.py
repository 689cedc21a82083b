"""The last gate before the arm: every command is inside the robot's limits and can be stopped inside them.

One invariant, held by induction: *the limiter always owns a jerk-limited brake, from the state that was commanded last to
rest, that stays inside the position and velocity limits and the workspace, above the table, and clear of the arm itself.* A
step toward a target is commanded only when such a brake exists from where it would lead; otherwise the brake that the
step before proved is executed instead.

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

from hpt_ros.control.guard import REACH_M, Guard, Known
from hpt_ros.control.limits import TABLES, VelocityLimits
from hpt_ros.embodiment.schema import Safety
from hpt_ros.errors import HptRosError

Array = NDArray[np.float64]

_ROUNDING = 1e-6  # relative: Ruckig's own results may pass a limit by rounding
_CURVE_SHARE = 0.98  # of the position-dependent velocity that a motion aims for: what is above is for braking
_LOOK_AHEAD_RAD = 0.3
_LEAST_SHARE = 1e-3
_SLOWEST_RAD_S = 0.1  # where the robot itself allows less than this, the arm does not go
_BRAKE_SPACING_S = 0.01  # of the points of a brake that are checked and sent, at least
_LINE = np.linspace(0.0, 1.0, 9)[1:]  # shares of the way to a target that is not allowed
_ALTERED_RAD = 1e-6


JOINT_POSITION, JOINT_VELOCITY = "joint position", "joint velocity"
JOINT_ACCELERATION, JOINT_JERK = "joint acceleration", "joint jerk"
SOLVER, BRAKE = "no solution", "brake"


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
    the last velocity 0; empty at rest. `limits`: the kinds of limits because of which it is not what was asked for.
    """

    state: JointState
    brake: tuple[tuple[float, Array, Array], ...]
    limits: tuple[str, ...] = ()

    @property
    def altered(self) -> bool:
        """Whether it is not what was asked for."""
        return bool(self.limits)


@dataclass(frozen=True)
class _Brake:
    """A way to rest, and its points, at multiples of a spacing, the first and the last included."""

    trajectory: ruckig.Trajectory
    spacing_s: float
    q: Array  # (N, J)
    dq: Array

    @classmethod
    def of(cls, trajectory: ruckig.Trajectory, spacing_s: float) -> _Brake:
        count = max(math.ceil(trajectory.duration / spacing_s - _ROUNDING), 0)
        times = [min(i * spacing_s, trajectory.duration) for i in range(count + 1)]
        q, dq, _ = zip(*map(trajectory.at_time, times), strict=True)
        return cls(trajectory, spacing_s, np.array(q), np.array(dq))

    def after(self, begun_s: float) -> tuple[tuple[float, Array, Array], ...]:
        """The points that follow a time on the brake, as in `LimitedCommand`."""
        q, dq = self.q[1:], self.dq[1:].copy()
        if begun_s:
            count = math.ceil((self.trajectory.duration - begun_s) / self.spacing_s - _ROUNDING)
            times = [min(begun_s + (i + 1) * self.spacing_s, self.trajectory.duration) for i in range(count)]
            points = [self.trajectory.at_time(time_s) for time_s in times]
            q, dq = np.array([point[0] for point in points]), np.array([point[1] for point in points])
        dq[-1:] = 0.0  # at rest but for rounding
        return tuple(((i + 1) * self.spacing_s, q[i], dq[i]) for i in range(len(q)))


class Limiter:
    """Turns targets, one per period, into motion inside `safety`.

    Args:
        names: the joints, for messages; their order is that of every vector here.
        period_s: time between two steps.
    """

    def __init__(self, safety: Safety, names: Sequence[str], period_s: float) -> None:
        table = TABLES[safety.limits]
        self.names, self.period_s = tuple(names), period_s
        self._allowed = VelocityLimits(table, safety.velocity_fraction)
        slowest_low, slowest_high = self._allowed.range_at(_SLOWEST_RAD_S)
        self.low = np.maximum(np.array(table.position_min) + safety.position_margin_rad, slowest_low)
        self.high = np.minimum(np.array(table.position_max) - safety.position_margin_rad, slowest_high)
        self.velocity = self._allowed.highest
        self.acceleration = safety.acceleration_fraction * np.array(table.acceleration)
        self.jerk = safety.jerk_fraction * np.array(table.jerk)
        self._guard = Guard(safety)
        self._solver = ruckig.Ruckig(len(self.names), period_s)
        self._step_input = self._make_input(ruckig.ControlInterface.Position)
        self._step_input.minimum_duration = period_s  # what can be reached within a period is met exactly at its end
        self._brake_input = self._make_input(ruckig.ControlInterface.Velocity)
        self._spacing_s = period_s * max(math.ceil(_BRAKE_SPACING_S / period_s - _ROUNDING), 1)
        # How far a point of the arm can leave the chord between two points of a brake: all joints at their fastest.
        fastest = self.acceleration @ REACH_M + self.velocity.sum() * (self.velocity @ REACH_M)
        self._bulge_m = float(fastest) * self._spacing_s**2 / 8
        self._path = ruckig.Trajectory(len(self.names))
        self._brake = _Brake.of(self._path, self._spacing_s)  # of no duration
        self._braked_s = 0.0
        self._known_state, self._known_target = Known(), Known()
        self.state: JointState | None = None

    def reset(self, q: ArrayLike) -> None:
        """Start at rest at the measured joints `q` (J,) [rad].

        Raises:
            UnsafeRequestError: outside the position limits or the workspace, in the table or the arm itself, or not finite.
        """
        self.state = None
        start = np.array(q, dtype=float)
        for name, value, low, high in zip(self.names, start, self.low, self.high, strict=True):
            if not low <= value <= high:
                raise UnsafeRequestError(
                    f"{name} is at {value:.3f} rad, allowed: {low:.3f} to {high:.3f} (limits less the margin)",
                    "move the arm away from the limit by hand or with the robot's own tools",
                )
        reason, remedy = self._guard.explain(start)
        if reason:
            raise UnsafeRequestError(reason, remedy)
        rest = JointState(start, np.zeros_like(start), np.zeros_like(start))
        brake = self._prove_brake(rest)
        if isinstance(brake, str):
            raise UnsafeRequestError(f"no brake from the start: {brake}", "report this as a defect")
        self._accept(rest, brake)

    def step(self, q: ArrayLike, dq: ArrayLike, ddq: ArrayLike | None = None) -> LimitedCommand:
        """One period toward a state: position `q` (J,) [rad], velocity `dq` [rad/s], acceleration `ddq` [rad/s^2] or None for 0.

        Raises:
            UnsafeRequestError: a value that is not finite; the state is unchanged.
        """
        wanted = np.array([q, dq, np.zeros(len(self.names)) if ddq is None else ddq], dtype=float)
        if not np.isfinite(wanted).all():
            raise UnsafeRequestError("a target that is not finite reached the limiter", "report this as a defect")
        target, kind = self._reachable(*wanted)
        candidate = self._toward(target)
        if candidate is None:
            return self.brake(limits=(SOLVER,))
        brake = self._prove_brake(candidate)
        if isinstance(brake, str):
            return self.brake(limits=(brake,))
        self._accept(candidate, brake)
        if np.abs(candidate.q - wanted[0]).max() <= _ALTERED_RAD:
            return self._command(())
        return self._command((kind or self._slowed_by(candidate),))

    def brake(self, periods: int = 1, limits: tuple[str, ...] = (BRAKE,)) -> LimitedCommand:
        """Go on along the proven brake: decelerate, then hold. `limits`: why."""
        self._require_state()
        self._braked_s += periods * self.period_s
        brake = self._brake.trajectory
        self.state = _state(brake, min(self._braked_s, brake.duration))
        if self._braked_s >= brake.duration:  # rest, without the rounding that would creep
            self.state = JointState(self.state.q, np.zeros_like(self.state.q), np.zeros_like(self.state.q))
        return self._command(limits)

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

    def _reachable(self, q: Array, dq: Array, ddq: Array) -> tuple[JointState, str]:
        """The nearest target worth asking for, able to stop there, and the kind of limit that moved it ("": none did)."""
        inside = np.minimum(np.maximum(q, self.low), self.high)
        moved = JOINT_POSITION if np.abs(inside - q).max() > _ALTERED_RAD else ""
        if self._guard.judge(inside[None], np.array([self._bulge_m]), self._known_target)[0]:
            last, kind = self._last_inside(inside)
            return JointState(last, np.zeros_like(q), np.zeros_like(q)), kind
        q = inside
        # On the way out a speed is allowed from which half the acceleration limit still stops in time.
        most_up, most_down = self._allowed.up(q, _CURVE_SHARE), self._allowed.down(q, _CURVE_SHARE)
        up = np.minimum(most_up, np.sqrt(self.acceleration * (self.high - q)))
        down = np.minimum(most_down, np.sqrt(self.acceleration * (q - self.low)))
        dq = (1 - _ROUNDING) * np.maximum(np.minimum(dq, up), -down)
        # An acceleration is allowed that the jerk limit takes back before the speed passes its limit.
        most = np.where(dq > 0, most_up, most_down)
        room = np.sqrt(2 * self.jerk * (most - np.abs(dq)))
        highest = (1 - _ROUNDING) * np.minimum(self.acceleration, room)
        return JointState(q, dq, np.maximum(np.minimum(ddq, highest), -highest)), moved

    def _last_inside(self, q: Array) -> tuple[Array, str]:
        """On the line from where the arm would come to rest to `q`: the last point before what is not allowed, and its kind."""
        rest = self._brake.q[-1]
        line = rest + _LINE[:, None] * (q - rest)
        kinds = self._guard.judge(line, np.full(len(line), self._bulge_m))
        index = next(i for i, kind in enumerate(kinds) if kind)
        last: Array = line[index - 1] if index else rest
        return last, kinds[index]

    def _toward(self, target: JointState) -> JointState | None:
        """The state one period on along the fastest motion inside the limits; None if Ruckig finds none."""
        request, state = self._step_input, self._require_state()
        request.target_position, request.target_velocity = target.q.tolist(), target.dq.tolist()
        request.target_acceleration = target.ddq.tolist()
        if self._allowed.depend_on_position:
            self._slow_down(request, state.q, target)
        if not self._solve(request, state, self._path):
            return None
        return _state(self._path, self.period_s)

    def _slow_down(self, request: ruckig.InputParameter, q: Array, target: JointState) -> None:
        """Bound the speed of the motion by what is allowed a little farther on; never below the target's own."""
        ahead = np.clip(target.q, q - _LOOK_AHEAD_RAD, q + _LOOK_AHEAD_RAD)
        up = self._allowed.up(np.maximum(q, ahead), _CURVE_SHARE)
        down = self._allowed.down(np.minimum(q, ahead), _CURVE_SHARE)
        own = (1 + _ROUNDING) * (np.abs(target.dq) + target.ddq**2 / (2 * self.jerk))
        least = np.maximum(own, _LEAST_SHARE * self.velocity)
        request.max_velocity = np.minimum(self.velocity, np.maximum(up, least)).tolist()
        request.min_velocity = (-np.minimum(self.velocity, np.maximum(down, least))).tolist()

    def _prove_brake(self, state: JointState) -> _Brake | str:
        """A brake from the state that stays inside every limit, or the kind of limit that it, or the state, passes."""
        overshoot = np.where(state.dq * state.ddq > 0, state.ddq**2 / (2 * self.jerk), 0.0)
        if not np.isfinite(state.q).all():
            return SOLVER
        if not (np.abs(state.ddq) <= (1 + _ROUNDING) * self.acceleration).all():
            return JOINT_ACCELERATION
        if not (np.abs(state.dq) + overshoot <= (1 + _ROUNDING) * self.velocity).all():
            return JOINT_VELOCITY
        trajectory = ruckig.Trajectory(len(self.names))
        if not self._solve(self._brake_input, state, trajectory):
            return SOLVER
        brake = _Brake.of(trajectory, self._spacing_s)
        # How far the joints can leave the chord between two points at full acceleration.
        # (Ruckig's own position_extrema are wrong in the Python wheels: they always include 0.)
        apart_s = min(self._spacing_s, trajectory.duration)  # at rest there is no path to bulge
        slack = _ROUNDING - self.acceleration * apart_s**2 / 8
        if (brake.q < self.low - slack).any() or (brake.q > self.high + slack).any():
            return JOINT_POSITION
        if self._allowed.depend_on_position and self._too_fast(brake, np.sign(state.dq) * overshoot):
            return JOINT_VELOCITY
        margin_m = np.full(len(brake.q), self._bulge_m * (apart_s / self._spacing_s) ** 2)
        return next(filter(None, self._guard.judge(brake.q, margin_m, self._known_state)), brake)

    def _too_fast(self, brake: _Brake, overshoot: Array) -> bool:
        """Whether a brake passes a velocity that depends on position: along it speed only falls, and so does what is allowed."""
        up, down = self._allowed.up(brake.q), self._allowed.down(brake.q)
        dq = brake.dq[:-1].copy()
        dq[:1] += overshoot
        up, down = np.minimum(up[:-1], up[1:]), np.minimum(down[:-1], down[1:])
        return bool(((dq > up + _ROUNDING) | (-dq > down + _ROUNDING)).any())

    def _slowed_by(self, state: JointState) -> str:
        """The limit that keeps a motion from being where it was wanted."""
        if (np.abs(state.dq) >= 0.99 * self.velocity).any():
            return JOINT_VELOCITY
        return JOINT_ACCELERATION if (np.abs(state.ddq) >= 0.99 * self.acceleration).any() else JOINT_JERK

    def _solve(self, request: ruckig.InputParameter, start: JointState, trajectory: ruckig.Trajectory) -> bool:
        request.current_position, request.current_velocity = start.q.tolist(), start.dq.tolist()
        request.current_acceleration = start.ddq.tolist()
        try:
            result = self._solver.calculate(request, trajectory)
        except ruckig.RuckigError:
            return False
        return bool(result in (ruckig.Result.Working, ruckig.Result.Finished)) and math.isfinite(trajectory.duration)

    def _accept(self, state: JointState, brake: _Brake) -> None:
        self.state, self._brake = state, brake
        self._braked_s = 0.0

    def _command(self, limits: tuple[str, ...]) -> LimitedCommand:
        return LimitedCommand(self._require_state(), self._brake.after(self._braked_s), limits)

    def _require_state(self) -> JointState:
        if self.state is None:
            raise UnsafeRequestError("the limiter was not started at the measured joints", "report this as a defect")
        return self.state


def _state(trajectory: ruckig.Trajectory, time_s: float) -> JointState:
    return JointState(*(np.array(values) for values in trajectory.at_time(time_s)))
