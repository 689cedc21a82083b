"""A scripted teleoperator: it looks where the cube is, thinks in tool poses and commands joint targets and a gripper width.

The whole motion is planned at the start, on a kinematic ghost of the arm, from rest to rest: the same start gives the same
path, however the robot lags behind. It uses nothing that a person with a space mouse could not command.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt_ros.control.kinematics import differential_ik, forward, pose_error
from hpt_ros.control.limits import TABLES
from hpt_ros.control.rotation import matrix_of_vector
from hpt_ros.sim.tasks import MAX_WIDTH_M, READY_RAD, Lift, Push, Reach, task_named

Array = NDArray[np.float64]

SPEED_M_S = 0.25
TURN_RAD_S = 1.0
RAMP_S = 0.5  # of every motion, to full speed and back to rest
LIMIT_FRACTION = 0.35  # below what the commander's limiter allows, so that it changes nothing
_GRID_S = 0.01
_POSTURE_GAIN_1_S = 1.0
_ABOVE_M, _GRASP_M, _RAISED_M = 0.12, 0.02, 0.20  # heights of the TCP over the table
_GRIP_S = 0.6
_BEHIND_M = 0.075  # of the cube's centre, where a push begins
_CONTACT_M = 0.027  # from the TCP to the cube's centre while pushing
_PUSH_SPEED_M_S = 0.12


@dataclass(frozen=True)
class Sight:
    """What the teleoperator sees: the cube's centre (3,) [m] and yaw [rad], and the task's goal (3,) [m]."""

    cube_m: Array
    cube_yaw_rad: float
    goal_m: Array


@dataclass(frozen=True)
class Leg:
    """Move the tool (pointing down) to a place and a yaw, then wait; the width is commanded when the leg begins."""

    tcp_m: Array
    yaw_rad: float
    width_m: float
    speed_m_s: float = SPEED_M_S
    wait_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Targets over time: `targets` (N, 8) = joint angles [rad] and gripper width [m] at `times_s` (N,)."""

    times_s: Array
    targets: Array

    @property
    def duration_s(self) -> float:
        """When the last motion ends; after it the last target is held."""
        return float(self.times_s[-1])

    def sample(self, times_s: ArrayLike) -> Array:
        """Targets (M, 8) at times [s] since the start. The width steps, the joints move smoothly."""
        at = np.clip(np.atleast_1d(np.asarray(times_s, dtype=float)), 0.0, self.duration_s)
        rows = np.stack([np.interp(at, self.times_s, column) for column in self.targets.T], axis=1)
        rows[:, 7] = self.targets[np.searchsorted(self.times_s, at, side="right") - 1, 7]
        return rows

    def rows(self, time_s: float, period_s: float, count: int) -> Array:
        """A chunk made at `time_s`: row i is the target due at `time_s + (i + 1) * period_s`."""
        return self.sample(time_s + period_s * np.arange(1, count + 1))


def sight(cube_m: ArrayLike, cube_wxyz: ArrayLike, goal_m: ArrayLike) -> Sight:
    """From poses as the simulator reports them."""
    w, x, y, z = np.asarray(cube_wxyz, dtype=float)
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return Sight(np.asarray(cube_m, dtype=float), yaw, np.asarray(goal_m, dtype=float))


def plan(task: str, q: ArrayLike, seen: Sight, limits: str = "fer", tool_m: float = 0.0) -> Plan:
    """Plan the whole task from the measured joint angles `q` (7,) [rad], with a tool that is longer by `tool_m`.

    Raises:
        ConfigError: no such task.
    """
    start = np.asarray(q, dtype=float)
    longer = np.array([0.0, 0.0, tool_m])  # the tool points down all the time
    path = [replace(leg, tcp_m=leg.tcp_m + longer) for leg in legs(task, seen)]
    return _within_limits(_follow(start, path), limits)


def legs(task: str, seen: Sight) -> list[Leg]:
    """The task as places to go to."""
    return _LEGS[task_named(task).name](seen)


def _reach_legs(seen: Sight) -> list[Leg]:
    return [Leg(seen.goal_m, 0.0, MAX_WIDTH_M)]


def _lift_legs(seen: Sight) -> list[Leg]:
    yaw = _nearest(seen.cube_yaw_rad, math.pi / 2)
    x, y, _ = seen.cube_m
    above, grasp, raised = (np.array([x, y, z]) for z in (_ABOVE_M, _GRASP_M, _RAISED_M))
    return [
        Leg(above, yaw, MAX_WIDTH_M),
        Leg(grasp, yaw, MAX_WIDTH_M),
        Leg(grasp, yaw, 0.0, wait_s=_GRIP_S),
        Leg(raised, yaw, 0.0),
    ]


def _push_legs(seen: Sight) -> list[Leg]:
    way = (seen.goal_m - seen.cube_m)[:2]
    ahead = np.array([*way / np.linalg.norm(way), 0.0])
    yaw = _nearest(math.atan2(ahead[1], ahead[0]), math.pi)
    level = np.array([1.0, 1.0, 0.0])
    behind = seen.cube_m * level - ahead * _BEHIND_M
    end = seen.goal_m * level - ahead * _CONTACT_M
    return [
        Leg(behind + [0, 0, _ABOVE_M], yaw, 0.0),
        Leg(behind + [0, 0, _GRASP_M], yaw, 0.0),
        Leg(end + [0, 0, _GRASP_M], yaw, 0.0, _PUSH_SPEED_M_S),
    ]


_LEGS: dict[str, Callable[[Sight], list[Leg]]] = {
    Reach.name: _reach_legs,
    Lift.name: _lift_legs,
    Push.name: _push_legs,
}


def _nearest(angle_rad: float, symmetry_rad: float) -> float:
    """The equivalent angle next to zero, for a shape that looks the same every `symmetry_rad`."""
    return angle_rad - symmetry_rad * round(angle_rad / symmetry_rad)


def _follow(q: Array, path: Sequence[Leg]) -> Plan:
    """Integrate differential inverse kinematics along the legs, on the desired state, never on the measured one."""
    targets = [np.append(q, path[0].width_m)]
    for leg in path:
        begin = forward(q)
        end = _tool_down(leg.tcp_m, leg.yaw_rad)
        for progress, pace in _profile(begin, end, leg.speed_m_s):
            step = pose_error(forward(q), _between(begin, end, progress)) / _GRID_S
            posture = _POSTURE_GAIN_1_S * pace * (np.asarray(READY_RAD) - q)
            q = q + _GRID_S * differential_ik(q, step, posture=posture)
            targets.append(np.append(q, leg.width_m))
        targets += [np.append(q, leg.width_m)] * round(leg.wait_s / _GRID_S)
    return Plan(np.arange(len(targets)) * np.float64(_GRID_S), np.array(targets))


def _profile(begin: Array, end: Array, speed_m_s: float) -> list[tuple[float, float]]:
    """(progress 0..1, pace 0..1) at every grid time of a motion: raised-cosine ramps around a constant speed."""
    twist = pose_error(begin, end)
    duration_s = max(np.linalg.norm(twist[:3]) / speed_m_s, np.linalg.norm(twist[3:]) / TURN_RAD_S)
    cruise_s = max(float(duration_s) - RAMP_S, 0.0)
    steps = math.ceil((cruise_s + 2 * RAMP_S) / _GRID_S) if duration_s > 1e-6 else 0
    total_s = steps * _GRID_S

    def ramp(t: float) -> float:
        return (t - RAMP_S / math.pi * math.sin(math.pi * t / RAMP_S)) / 2

    full = total_s - RAMP_S
    profile = []
    for t in _GRID_S * np.arange(1, steps + 1):
        left = total_s - t
        if t < RAMP_S:
            travelled, edge = ramp(t), t
        elif left < RAMP_S:
            travelled, edge = full - ramp(left), left
        else:
            travelled, edge = RAMP_S / 2 + (t - RAMP_S), RAMP_S
        profile.append((travelled / full, (1 - math.cos(math.pi * edge / RAMP_S)) / 2))
    return profile


def _between(begin: Array, end: Array, progress: float) -> Array:
    """The pose on the straight line and the shortest turn from `begin` to `end`."""
    twist = pose_error(begin, end) * progress
    pose = np.eye(4)
    pose[:3, 3] = begin[:3, 3] + twist[:3]
    pose[:3, :3] = matrix_of_vector(twist[3:]) @ begin[:3, :3]
    return pose


def _tool_down(tcp_m: Array, yaw_rad: float) -> Array:
    cosine, sine = math.cos(yaw_rad), math.sin(yaw_rad)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[cosine, sine, 0], [sine, -cosine, 0], [0, 0, -1]])
    pose[:3, 3] = tcp_m
    return pose


def _within_limits(motion: Plan, limits: str) -> Plan:
    """The same path, slowed down as a whole until it keeps within LIMIT_FRACTION of the robot's limits."""
    table = TABLES[limits]
    velocity = np.gradient(motion.targets[:, :7], _GRID_S, axis=0)
    acceleration = np.gradient(velocity, _GRID_S, axis=0)
    too_fast = np.max(np.abs(velocity) / np.asarray(table.velocity)) / LIMIT_FRACTION
    too_abrupt = np.max(np.abs(acceleration) / np.asarray(table.acceleration)) / LIMIT_FRACTION
    return Plan(motion.times_s * max(1.0, too_fast, math.sqrt(too_abrupt)), motion.targets)
