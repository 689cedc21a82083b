"""Demonstrations and closed-loop trials on the simulated Panda without ROS, faster than real time, for tests and training.

No latency, no limiter: what succeeds here may still fail over topics, what fails here will fail there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.joint_rows import JointRows
from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.sim.cameras import DEFAULT_SIZE_PX, Image, Renderer
from hpt_ros.sim.expert import plan, sight
from hpt_ros.sim.variant import Variant
from hpt_ros.sim.world import World

Policy = Callable[[NDArray[np.float32], dict[str, Image]], NDArray[np.floating]]
"""(state (8,), images {camera: (H, W, 3) uint8 RGB}) -> chunk (rows, P), columns `embodiment.chunk_columns`, one row per policy period."""


@dataclass(frozen=True)
class Sample:
    """One tick. state (8,) and target (8,) float32: joint angles [rad], gripper width [m]; the target is the command in force."""

    time_s: float
    state: NDArray[np.float32]
    images: dict[str, Image]
    target: NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. `distance_m`: from the TCP to the task's goal at the end."""

    success: bool
    elapsed_s: float
    distance_m: float


class OfflineScene:
    """One scene with its renderer; use it in one thread and close it (or use `with`).

    Args:
        task: reach, lift or push.
        embodiment: gives home pose, cameras, policy rate and rows executed per chunk; default `sim_panda`.
        size_px: (height, width) of the images.
        images: without them no graphics library is needed, and samples carry none.
        variant: another robot than the usual one.
        variation: name of a change of what the cameras see.
        disturbance: how far the arm is pushed about while it moves, see `Disturbance`.
    """

    def __init__(
        self,
        task: str,
        embodiment: Embodiment | None = None,
        size_px: tuple[int, int] = DEFAULT_SIZE_PX,
        images: bool = True,
        variant: Variant | None = None,
        variation: str = "none",
        disturbance: float = 0.0,
    ) -> None:
        self.embodiment = embodiment or load_embodiment("sim_panda")
        self._variant = variant or Variant()
        home_rad = self.embodiment.home_rad
        self.world = World(task, 0, home_rad, change=variant, variation=variation, disturbance=disturbance)
        self._joint_rows = JointRows(self.embodiment)
        self._cameras = [camera.name for camera in self.embodiment.cameras]
        self._renderer = Renderer(self.world.model, size_px) if images else None
        self._period_s = 1 / self.embodiment.policy.rate_hz
        self._steps = round(self._period_s * 1e9 / self.world.timestep_ns)

    def __enter__(self) -> OfflineScene:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the graphics context."""
        if self._renderer:
            self._renderer.close()

    def run_expert(self, seed: int) -> Iterator[Sample]:
        """The scripted expert's demonstration from the start of `seed`, a sample per policy period, until success or the time limit."""
        world = self.world
        world.reset(seed=seed)
        seen = self._variant.seen_from_base(sight(world.cube_m, world.cube_wxyz, world.goal_m))
        motion = plan(world.task.name, world.q, seen, tool_m=self._variant.tool_m)
        target = motion.sample(0.0)[0]
        while not self._over():
            yield Sample(world.elapsed_s, world.state, self._images(), target.astype(np.float32))
            target = self._drive(target, motion.sample(world.elapsed_s + self._period_s)[0])

    def rollout(self, policy: Policy, seed: int) -> Outcome:
        """Let `policy` act from the start of `seed` until success or the time limit; each chunk's first `execute_rows` are executed.

        Raises:
            ChunkRejected: a pose that the arm cannot reach.
        """
        world = self.world
        world.reset(seed=seed)
        target: NDArray[np.floating] = world.state
        while not self._over():
            chunk = policy(world.state, self._images())
            if self._joint_rows.takes_poses:
                due_s = self._period_s * np.arange(1, len(chunk) + 1)
                chunk = self._joint_rows.solved(chunk.astype(np.float64), target[:7].astype(np.float64), due_s)
            for row in chunk[: self.embodiment.policy.execute_rows]:
                target = self._drive(target, row)
        return Outcome(world.success, world.elapsed_s, float(np.linalg.norm(world.tcp_m - world.goal_m)))

    def _over(self) -> bool:
        return self.world.success or self.world.elapsed_s >= self.world.task.time_limit_s

    def _images(self) -> dict[str, Image]:
        return self._renderer.render(self.world.snapshot(), self._cameras) if self._renderer else {}

    def _drive(self, begin: NDArray[np.floating], end: NDArray[np.floating]) -> NDArray[np.floating]:
        """Move the targets from `begin` to `end` in one policy period, joints at constant speed; returns `end`."""
        dq = (end[:7] - begin[:7]) / self._period_s
        self.world.set_gripper_target(float(end[7]))
        for fraction in np.arange(1, self._steps + 1) / self._steps:
            self.world.set_arm_target(begin[:7] + fraction * (end[:7] - begin[:7]), dq)
            self.world.step()
        return end
