"""`python -m experiments.strategies CHECKPOINT --task lift`: what each way to join chunks makes of a trained policy.

The simulated Panda in virtual time, with the package's schedule, limiter and horizon; a chunk arrives after a fixed delay.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from experiments.offline_trials import Network
from hpt_ros.benchmarks.delay_scene import Loop, Trial
from hpt_ros.cli.output import console
from hpt_ros.configuration import check
from hpt_ros.control.joint_rows import JointRows
from hpt_ros.control.merging import make_strategy
from hpt_ros.control.schedule import Schedule
from hpt_ros.embodiment import Embodiment, overridden
from hpt_ros.errors import HptRosError
from hpt_ros.evaluation.statistics import wilson_interval
from hpt_ros.model import PolicyRunner, load_checkpoint
from hpt_ros.sim.cameras import DEFAULT_SIZE_PX, Renderer
from hpt_ros.sim.tasks import TASKS
from hpt_ros.sim.world import World

SEED = 2_000_000  # of the scenes, as in the proof run
FEW_ROWS = 4
Way = tuple[str, int]
"""Strategy, and rows of a chunk before the next one takes over."""


@dataclass
class Sight:
    """A network that looks at a world through its cameras."""

    network: Network
    renderer: Renderer
    cameras: list[str]

    def rows(self, world: World, period_s: float, count: int) -> NDArray[np.float64]:
        """The chunk of what is seen now."""
        images = self.renderer.render(world.snapshot(), self.cameras)
        return self.network.act(world.state, images).astype(np.float64)


def ways(robot: Embodiment) -> list[Way]:
    """The embodiment's own number of rows, few, and every chunk at once."""
    usual = robot.policy.execute_rows
    return [
        ("receding_horizon", usual),
        ("receding_horizon", min(FEW_ROWS, usual)),
        ("blend", usual),
        ("blend", 1),
        ("temporal_ensemble", usual),
    ]


def trial(runner: PolicyRunner, robot: Embodiment, way: Way, task: str, seed: int, delay_s: float) -> Trial:
    """One closed-loop trial; the same arguments give the same trial."""
    policy = overridden(robot, way[0], execute_rows=way[1]).policy
    joints = len(robot.joints.names)
    world = World(task, seed, robot.home_rad)
    renderer = Renderer(world.model, DEFAULT_SIZE_PX)
    runner.seed(seed)
    try:
        schedule = Schedule(joints, policy.execute_rows, make_strategy(policy, joints))
        sight = Sight(Network(runner, robot), renderer, [camera.name for camera in robot.cameras])
        return Loop(world, robot, schedule, sight, delay_s).run()
    finally:
        renderer.close()


def main() -> int:
    """Try them in turn, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.strategies", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder of a trained checkpoint of joint targets")
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--delay-ms", type=float, default=30.0, help="from the observation to the chunk")
    given = parser.parse_args()
    try:
        loaded = load_checkpoint(given.checkpoint)
        robot, runner = loaded.embodiment, PolicyRunner(loaded, threads=1)
        check(not JointRows(robot).takes_poses, "action.kind", robot.action.kind, "joint_position or joint_delta")
        table = Table(
            "strategy", "rows", "success", "95 %", "median time, s", title=f"{given.task}: {given.checkpoint}"
        )
        for way in ways(robot):
            seeds = range(SEED, SEED + given.trials)
            done = [trial(runner, robot, way, given.task, seed, given.delay_ms / 1e3) for seed in seeds]
            times_s = [t.elapsed_s for t in done if t.success]
            low, high = wilson_interval(len(times_s), len(done))
            took = f"{np.median(times_s):.1f}" if times_s else "-"
            console.print(f"{way[0]}, {way[1]} rows: {len(times_s)} of {len(done)}")
            table.add_row(way[0], str(way[1]), f"{len(times_s)} of {len(done)}", f"{low:.0%} to {high:.0%}", took)
        console.print(table)
    except HptRosError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
