"""The simulated Panda as an object: targets in, physics, state out. No ROS, no wall clock, no images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt_ros.errors import HptRosError
from hpt_ros.sim.disturbance import Disturbance
from hpt_ros.sim.scene import Change, goal_position, indices, load_model, mujoco
from hpt_ros.sim.tasks import HOLD_S, MAX_WIDTH_M, READY_RAD, Array, View, task_named
from hpt_ros.sim.variation import variation_named

WIDTH_SPEED_M_S = 0.1  # of the hand's own position control
_MOVES_NS = 50_000_000  # after its last change of target the arm counts as told to move
_GRIPS_M = 0.01  # wider than told, the closing hand is on its way to the cube or holds it
_CHECK_PERIOD_NS = 20_000_000  # of success and of the solver's health
_BROKEN = [  # MuJoCo warns, puts zeros in their place and goes on
    int(kind)
    for kind in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
        mujoco.mjtWarning.mjWARN_BADCTRL,
    )
]


class SimulationError(HptRosError):
    """The physics left the range of sensible numbers."""


@dataclass(frozen=True)
class Snapshot:
    """All that a picture of the scene depends on: generalised positions, and the place of the goal's disc (3,) [m]."""

    qpos: Array
    mark_m: Array


class World:
    """Physics of one scene. Angles in rad, lengths in m, the base frame is the world.

    Time runs on through resets: `time_ns` counts from construction, `elapsed_s` from the last reset.

    Args:
        home_rad: joint angles (7,) that the randomised starts lie around.
        change: what of the scene differs from the usual one.
        variation: name of a change of what the cameras see.
        disturbance: how far the arm is pushed about while it moves and grips nothing, see `Disturbance`.

    Raises:
        ConfigError: no such task or variation.
    """

    def __init__(
        self,
        task: str = "reach",
        seed: int = 0,
        home_rad: Sequence[float] = READY_RAD,
        timestep_s: float = 0.001,
        change: Change | None = None,
        variation: str = "none",
        disturbance: float = 0.0,
    ) -> None:
        self._disturbed_by = disturbance
        self.model = load_model(timestep_s, change)
        variation_named(variation).apply(self.model)
        self._data = mujoco.MjData(self.model)
        self._at = indices(self.model)
        self._home = np.asarray(home_rad, dtype=float)
        self.timestep_ns = round(timestep_s * 1e9)
        self.time_ns = 0
        self.episode = 0
        self.task = task_named(task)
        self.reset(task, seed)

    def reset(self, task: str = "", seed: int = 0) -> None:
        """Start an episode; an empty task keeps the present one. Arm, cube and targets are at rest at the start of `seed`.

        Raises:
            ConfigError: no such task; the running episode goes on.
        """
        self.task = task_named(task) if task else self.task
        start = self.task.start(seed)
        data, at = self._data, self._at
        mujoco.mj_resetData(self.model, data)
        q = self._home + start.joint_offset_rad
        data.qpos[at.arm_qpos] = q
        data.qpos[at.fingers_qpos] = MAX_WIDTH_M / 2
        half = start.cube_yaw_rad / 2
        data.qpos[at.cube_qpos] = [*start.cube_m, np.cos(half), 0.0, 0.0, np.sin(half)]
        self._mark = start.mark_m
        data.mocap_pos[at.goal] = goal_position(start.mark_m)
        mujoco.mj_forward(self.model, data)
        self._arm_target, self._moved_ns = q, self.time_ns - _MOVES_NS
        self.set_arm_target(q)
        self._disturbance = Disturbance(self._disturbed_by, len(q), seed) if self._disturbed_by else None
        self._width_target = self._width_reference = MAX_WIDTH_M
        self.seed, self.episode = seed, self.episode + 1
        self._start_ns, self._held_ns, self._checked_ns = self.time_ns, 0, self.time_ns
        self.success = False

    def set_arm_target(self, q: ArrayLike, dq: ArrayLike = 0.0) -> None:
        """Joint positions (7,) [rad] and velocities [rad/s] that the servos follow from the next step on."""
        if not np.array_equal(q, self._arm_target):
            self._arm_target, self._moved_ns = np.array(q, dtype=float), self.time_ns
        self._data.ctrl[self._at.arm_position] = q
        self._data.ctrl[self._at.arm_velocity] = dq

    def set_gripper_target(self, width_m: float) -> None:
        """Width that the fingers move to at 0.1 m/s; what lies between them is gripped with at most 40 N."""
        self._width_target = min(max(width_m, 0.0), MAX_WIDTH_M)

    def step(self) -> None:
        """Advance the physics by one time step.

        Raises:
            SimulationError: the solver met a value that is not finite or absurdly large.
        """
        reach = WIDTH_SPEED_M_S * self.timestep_ns * 1e-9
        self._width_reference += min(max(self._width_target - self._width_reference, -reach), reach)
        self._data.ctrl[self._at.width] = self._width_reference
        if self._disturbance:
            moving = self.time_ns - self._moved_ns < _MOVES_NS and not self._grips()
            offset = self._disturbance.step(self.timestep_ns * 1e-9, moving, float(self.tcp_m[2]))
            self._data.ctrl[self._at.arm_position] = self._arm_target + offset
        mujoco.mj_step(self.model, self._data)
        self.time_ns += self.timestep_ns
        if self.time_ns - self._checked_ns >= _CHECK_PERIOD_NS:
            self._check()

    def _grips(self) -> bool:
        return self._width_target < _GRIPS_M < float(self.fingers_m.sum()) - self._width_target

    def _check(self) -> None:
        if any(self._data.warning[kind].number for kind in _BROKEN):
            raise SimulationError(
                "the physics met a value that is not finite or too large", "reset the scene; check the commands"
            )
        period_ns, self._checked_ns = self.time_ns - self._checked_ns, self.time_ns
        self._held_ns = self._held_ns + period_ns if self.task.achieved(self.view) else 0
        self.success = self.success or self._held_ns >= HOLD_S * 1e9

    @property
    def view(self) -> View:
        """What the task's tests look at."""
        return View(self.tcp_m, self.cube_m, self._mark)

    @property
    def q(self) -> Array:
        """Joint angles (7,) [rad]."""
        q: Array = self._data.qpos[self._at.arm_qpos]
        return q

    @property
    def dq(self) -> Array:
        """Joint velocities (7,) [rad/s]."""
        dq: Array = self._data.qvel[self._at.arm_dof]
        return dq

    @property
    def torque(self) -> Array:
        """Joint torques (7,) [N m], gravity compensation included, of the last step."""
        torque: Array = self._data.qfrc_actuator[self._at.arm_dof]
        return torque

    @property
    def fingers_m(self) -> Array:
        """Positions (2,) [m] of the fingers; their sum is the width."""
        fingers: Array = self._data.qpos[self._at.fingers_qpos]
        return fingers

    @property
    def state(self) -> NDArray[np.float32]:
        """The state vector (8,): joint angles [rad], gripper width [m]."""
        return np.append(self.q, self.fingers_m.sum()).astype(np.float32)

    @property
    def tcp_m(self) -> Array:
        """Tool centre point (3,) [m], between the finger tips."""
        return np.array(self._data.site_xpos[self._at.tcp])

    @property
    def tcp_rotation(self) -> Array:
        """Orientation of the tool, (3, 3)."""
        return np.array(self._data.site_xmat[self._at.tcp]).reshape(3, 3)

    @property
    def cube_m(self) -> Array:
        """Centre of the cube (3,) [m]."""
        return np.array(self._data.qpos[self._at.cube_qpos][:3])

    @property
    def cube_wxyz(self) -> Array:
        """Orientation of the cube as a quaternion (4,), scalar first."""
        return np.array(self._data.qpos[self._at.cube_qpos][3:])

    @property
    def goal_m(self) -> Array:
        """The task's goal (3,) [m]."""
        return self.task.goal(self.view)

    @property
    def elapsed_s(self) -> float:
        """Simulated time since the last reset."""
        return (self.time_ns - self._start_ns) * 1e-9

    def snapshot(self) -> Snapshot:
        """A copy of what can be seen, for a renderer in another thread."""
        return Snapshot(self._data.qpos.copy(), self._data.mocap_pos[self._at.goal].copy())
