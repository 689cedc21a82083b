"""The tasks of the simulated Panda: where an episode starts, what the goal is, when it is reached."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import ConfigError

Array = NDArray[np.float64]

READY_RAD = (0.0, -0.7853981633974483, 0.0, -2.356194490192345, 0.0, 1.5707963267948966, 0.7853981633974483)
MAX_WIDTH_M = 0.08  # of the hand
CUBE_HALF_M = 0.02
HOLD_S = 0.5  # the goal counts as reached when it is held for so long
JOINT_NOISE_RAD = 0.05


@dataclass(frozen=True)
class Start:
    """How an episode begins; positions in the base frame."""

    joint_offset_rad: Array  # (7,), added to the home pose
    cube_m: Array  # (3,)
    cube_yaw_rad: float
    mark_m: Array | None  # (3,), centre of the goal circle drawn on the table


@dataclass(frozen=True)
class View:
    """What a success test may look at; positions (3,) [m] in the base frame."""

    tcp_m: Array
    cube_m: Array
    mark_m: Array | None


class Task(ABC):
    """One task. The same seed gives the same start, bit for bit."""

    name: ClassVar[str]
    instruction: ClassVar[str]
    time_limit_s: ClassVar[float]
    cube_x_m: ClassVar[tuple[float, float]] = (0.38, 0.58)
    cube_y_m: ClassVar[tuple[float, float]] = (-0.22, 0.22)

    def start(self, seed: int) -> Start:
        """The randomised start of `seed`: cube, its yaw within +-45 deg, joints within +-0.05 rad of home."""
        rng = np.random.default_rng(seed)
        x, y = rng.uniform(*self.cube_x_m), rng.uniform(*self.cube_y_m)
        yaw = rng.uniform(-math.pi / 4, math.pi / 4)
        offset = rng.uniform(-JOINT_NOISE_RAD, JOINT_NOISE_RAD, 7)
        cube = np.array([x, y, CUBE_HALF_M])
        return Start(offset, cube, float(yaw), self._mark(cube, rng))

    @abstractmethod
    def goal(self, view: View) -> Array:
        """The point (3,) [m] that the task is about at this moment."""

    @abstractmethod
    def achieved(self, view: View) -> bool:
        """Whether the goal is met at this moment; success is to hold it for HOLD_S."""

    def _mark(self, cube_m: Array, rng: np.random.Generator) -> Array | None:
        return None


class Reach(Task):
    """Bring the tool to a point above the cube."""

    name = "reach"
    instruction = "reach the point above the red cube"
    time_limit_s = 10.0
    hover_m = 0.06
    tolerance_m = 0.02

    def goal(self, view: View) -> Array:
        x, y, z = view.cube_m
        return np.array([x, y, z + self.hover_m])

    def achieved(self, view: View) -> bool:
        return math.dist(view.tcp_m, self.goal(view)) < self.tolerance_m


class Lift(Task):
    """Grasp the cube and raise it."""

    name = "lift"
    instruction = "lift the red cube"
    time_limit_s = 15.0
    height_m = 0.12

    def goal(self, view: View) -> Array:
        return np.array([view.cube_m[0], view.cube_m[1], self.height_m])

    def achieved(self, view: View) -> bool:
        return bool(view.cube_m[2] > self.height_m)


class Push(Task):
    """Slide the cube along the table into the circle."""

    name = "push"
    instruction = "push the red cube into the green circle"
    time_limit_s = 15.0
    cube_x_m = (0.42, 0.50)
    tolerance_m = 0.03
    distance_m = (0.10, 0.16)
    heading_rad = (-math.pi / 5, math.pi / 5)

    def goal(self, view: View) -> Array:
        assert view.mark_m is not None
        return view.mark_m

    def achieved(self, view: View) -> bool:
        on_table = view.cube_m[2] < 1.5 * CUBE_HALF_M
        return bool(on_table and math.dist(view.cube_m[:2], self.goal(view)[:2]) < self.tolerance_m)

    def _mark(self, cube_m: Array, rng: np.random.Generator) -> Array:
        distance, heading = rng.uniform(*self.distance_m), rng.uniform(*self.heading_rad)
        return cube_m + distance * np.array([math.cos(heading), math.sin(heading), 0.0])


TASKS: dict[str, Task] = {task.name: task for task in (Reach(), Lift(), Push())}


def task_named(name: str) -> Task:
    """A task by its name.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError("task", name, f"one of {', '.join(TASKS)}")
    return TASKS[name]
