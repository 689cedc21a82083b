"""What `bench delay` drives: the simulated Panda in virtual time, a policy that answers late, an oracle as one, and naive appending."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import POLICY, Chunk
from hpt_ros.control.horizon import Horizon
from hpt_ros.control.kinematics import forward
from hpt_ros.control.limiter import Limiter
from hpt_ros.control.schedule import Reference
from hpt_ros.control.trajectory import JointTrajectoryFollower
from hpt_ros.embodiment import Embodiment
from hpt_ros.sim.expert import Plan, plan, sight
from hpt_ros.sim.world import World

Array = NDArray[np.float64]

NOISE_RAD = 0.005  # standard deviation of what two chunks of a trained policy disagree by
_START_NS = 10**9
_GRID_S = 0.01  # of the oracle's search for where on its way the arm is
_LOOK_AHEAD_S = 1.0


class Chunks(Protocol):
    """Chunks in, one reference out: what `Schedule` does."""

    def start(self, t_ns: int, position: Array, velocity: Array, gripper_m: float | None) -> None: ...
    def offer(self, chunk: Chunk, now_ns: int) -> None: ...
    def sample(self, t_ns: int) -> Reference | None: ...


class Rows(Protocol):
    """A policy: rows (count, 8) [rad, m] from what it sees of the world now, one a period."""

    def rows(self, world: World, period_s: float, count: int) -> Array: ...


class NaiveAppending:
    """The baseline: every chunk is executed from its first row to its last, then the newest one. When it was made is ignored.

    Between its rows the reference is linear.
    """

    def __init__(self, joints: int) -> None:
        self._joints = joints
        self._chunk: Chunk | None = None
        self._next: Chunk | None = None
        self._began_ns = 0

    def start(self, t_ns: int, position: Array, velocity: Array, gripper_m: float | None) -> None:
        self._chunk = self._next = None

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        self._next = chunk

    def sample(self, t_ns: int) -> Reference | None:
        if self._chunk is None or t_ns >= self._began_ns + (len(self._chunk.rows) - 1) * self._chunk.period_ns:
            if self._next is None:
                return None
            self._chunk, self._next, self._began_ns = self._next, None, t_ns
        rows, period_ns = self._chunk.rows, self._chunk.period_ns
        i, past_ns = divmod(t_ns - self._began_ns, period_ns)
        step = rows[i + 1] - rows[i]
        row = rows[i] + past_ns / period_ns * step
        velocity = step[: self._joints] / (period_ns * 1e-9)
        width_m = float(rows[i][self._joints])
        return Reference(row[: self._joints], velocity, np.zeros_like(velocity), width_m, POLICY)


class Oracle:
    """A reactive policy: from where the arm is it goes on along the expert's way, with the error of a trained one.

    Every chunk is off by a constant of its own.
    """

    def __init__(self, world: World, limits: str, seed: int) -> None:
        self.way: Plan = plan(world.task.name, world.q, sight(world.cube_m, world.cube_wxyz, world.goal_m), limits)
        self._grid_s = np.arange(0.0, self.way.duration_s + _GRID_S, _GRID_S)
        self._path = self.way.sample(self._grid_s)[:, :7]
        self._path_m = np.array([forward(q)[:3, 3] for q in self._path[::5]])
        self.off_path_m: list[float] = []
        self._rng = np.random.default_rng(seed)
        self._at = 0

    def rows(self, world: World, period_s: float, count: int) -> Array:
        """From the measured joints; notes how far from the path the tool is."""
        self.off_path_m.append(float(np.linalg.norm(self._path_m - world.tcp_m, axis=1).min()))
        ahead = self._path[self._at : self._at + round(_LOOK_AHEAD_S / _GRID_S)]
        self._at += int(np.linalg.norm(ahead - world.q, axis=1).argmin())
        rows = self.way.rows(float(self._grid_s[self._at]), period_s, count)
        rows[:, :7] += self._rng.normal(0.0, NOISE_RAD, 7)
        return rows


@dataclass
class Trial:
    """One run. Largest changes from tick to tick: `asked` of the reference, the others of the commands; `step_rad` is what their velocity leaves unexplained."""

    success: bool = False
    elapsed_s: float = 0.0
    asked_step_rad: float = 0.0
    asked_velocity_step_rad_s: float = 0.0
    step_rad: float = 0.0
    velocity_step_rad_s: float = 0.0
    acceleration_step_rad_s2: float = 0.0
    ticks: int = 0
    limited: int = 0
    starved: int = 0
    off_path_m: list[float] = field(default_factory=list)


class Loop:
    """Arm, controller, limiter and chunks on one virtual clock."""

    def __init__(self, world: World, robot: Embodiment, chunks: Chunks, seer: Rows, delay_s: float) -> None:
        self._world, self._robot, self._chunks, self._seer = world, robot, chunks, seer
        self._tick_ns, self._delay_ns = round(1e9 / robot.command.rate_hz), round(delay_s * 1e9)
        self._tick_s = self._tick_ns * 1e-9
        self._horizon = Horizon(Limiter(robot.safety, robot.joints.names, self._tick_s))
        self._horizon.start(_START_NS, world.q.copy())
        self._follower = JointTrajectoryFollower(robot.joints.names, world.q)
        self._now_ns = _START_NS
        self._before: Reference | None = None
        self._wanting = False
        self._trial = Trial()

    def run(self) -> Trial:
        """Until success or the task's time limit."""
        world, trial = self._world, self._trial
        arrivals = self._policy()
        due_ns, chunk = next(arrivals)
        while not world.success and world.elapsed_s < world.task.time_limit_s:
            if self._now_ns >= due_ns:
                if chunk is not None:
                    self._take(chunk)
                due_ns, chunk = next(arrivals)
            self._tick()
        trial.success, trial.elapsed_s = world.success, world.elapsed_s
        return trial

    def _policy(self) -> Iterator[tuple[int, Chunk | None]]:
        """(when, what arrives then): a tick that falls into the inference before is left out, as by the policy node."""
        policy = self._robot.policy
        tick_ns = self._now_ns
        while True:
            yield tick_ns, None
            rows = self._seer.rows(self._world, policy.period_ns * 1e-9, policy.action_horizon)
            chunk = Chunk(self._now_ns, policy.period_ns, self._robot.action_names, rows, "", POLICY)
            yield self._now_ns + self._delay_ns, chunk
            tick_ns += policy.period_ns * max(1, -(-(self._now_ns - tick_ns) // policy.period_ns))

    def _take(self, chunk: Chunk) -> None:
        if not self._wanting:
            end = self._horizon.end
            self._chunks.start(self._horizon.end_ns, end.q, end.dq, float(chunk.rows[0, -1]))
        self._wanting = True
        self._chunks.offer(chunk, self._now_ns)

    def _wanted(self, t_ns: int) -> Reference | None:
        reference = self._chunks.sample(t_ns) if self._wanting else None
        self._wanting = reference is not None
        if reference is not None and self._before is not None:
            trial, before = self._trial, self._before
            trial.asked_step_rad = max(trial.asked_step_rad, _largest(reference.position - before.position))
            velocity_step_rad_s = _largest(reference.velocity - before.velocity)
            trial.asked_velocity_step_rad_s = max(trial.asked_velocity_step_rad_s, velocity_step_rad_s)
        self._before = reference
        return reference

    def _tick(self) -> None:
        horizon, trial, before = self._horizon, self._trial, self._horizon.end
        altered = horizon.advance(self._now_ns, self._wanted)
        after = horizon.end
        trial.ticks += 1
        trial.limited += bool(altered) and self._wanting
        trial.starved += not self._wanting
        trial.step_rad = max(trial.step_rad, _largest(after.q - before.q - self._tick_s * (before.dq + after.dq) / 2))
        trial.velocity_step_rad_s = max(trial.velocity_step_rad_s, _largest(after.dq - before.dq))
        trial.acceleration_step_rad_s2 = max(trial.acceleration_step_rad_s2, _largest(after.ddq - before.ddq))
        command = horizon.command()
        points = [(t, q, dq, None) for t, q, dq in command.points]
        self._follower.accept(self._robot.joints.names, points, command.stamp_ns, self._now_ns)
        if self._before is not None and self._before.gripper_m is not None:
            self._world.set_gripper_target(self._before.gripper_m)
        for _ in range(self._tick_ns // self._world.timestep_ns):
            self._world.set_arm_target(*self._follower.sample(self._now_ns))
            self._world.step()
            self._now_ns += self._world.timestep_ns


def _largest(values: Array) -> float:
    return float(np.abs(values).max())
