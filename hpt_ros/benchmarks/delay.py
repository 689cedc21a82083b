"""Inference that takes its time, closed loop in the simulator: what each strategy makes of late chunks, beside naive appending."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hpt_ros.benchmarks.delay_scene import NOISE_RAD, Chunks, Loop, NaiveAppending, Oracle, Trial
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal
from hpt_ros.control.limits import TABLES
from hpt_ros.control.merging import make_strategy
from hpt_ros.control.schedule import Schedule
from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, load_embodiment
from hpt_ros.sim.world import World

NAIVE = "naive appending"
STRATEGIES = ("receding_horizon", "blend", "temporal_ensemble", NAIVE)
DELAYS_S = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
TASKS = ("reach", "push")
_SEEDS, _QUICK_SEEDS = 3, 1


def run(quick: bool, say: Say) -> BenchReport:
    """Trials of `reach` and `push` for every strategy and delay; quick: one of `reach` each."""
    robot = load_embodiment("sim_panda")
    tasks, seeds = (TASKS[:1], _QUICK_SEEDS) if quick else (TASKS, _SEEDS)
    rows = []
    for strategy in STRATEGIES:
        say(strategy)
        for delay_s in DELAYS_S:
            trials = [trial(robot, strategy, task, delay_s, seed) for task in tasks for seed in range(seeds)]
            rows.append({"strategy": strategy, "delay_ms": round(delay_s * 1e3), **figures(trials)})
    return _report(robot, rows, tasks, seeds)


def trial(robot: Embodiment, strategy: str, task: str, delay_s: float, seed: int) -> Trial:
    """One closed-loop trial; the same arguments give the same trial."""
    world = World(task, seed, robot.home_rad)
    oracle = Oracle(world, robot.safety.limits, seed)
    found = Loop(world, robot, _chunks(robot, strategy), oracle, delay_s).run()
    return replace(found, off_path_m=oracle.off_path_m)


def _chunks(robot: Embodiment, strategy: str) -> Chunks:
    joints = len(robot.joints.names)
    if strategy == NAIVE:
        return NaiveAppending(joints)
    data = embodiment_to(robot)
    data["policy"]["strategy"] = strategy
    policy = embodiment_from(data).policy
    return Schedule(joints, policy.execute_rows, make_strategy(policy, joints))


def figures(trials: list[Trial]) -> dict[str, Any]:
    """One row of the table: the worst step of all trials, means of the rest."""
    ticks = sum(t.ticks for t in trials)
    off_m = np.concatenate([t.off_path_m for t in trials])
    return {
        "asked_step_mrad": round(1e3 * max(t.asked_step_rad for t in trials), 1),
        "asked_velocity_step_rad_s": round(max(t.asked_velocity_step_rad_s for t in trials), 2),
        "step_mrad": round(1e3 * max(t.step_rad for t in trials), 2),
        "velocity_step_rad_s": round(max(t.velocity_step_rad_s for t in trials), 3),
        "acceleration_step_rad_s2": round(max(t.acceleration_step_rad_s2 for t in trials), 2),
        "limited_percent": round(100 * sum(t.limited for t in trials) / ticks, 1),
        "starved_percent": round(100 * sum(t.starved for t in trials) / ticks, 1),
        "off_path_rms_mm": round(1e3 * float(np.sqrt(np.mean(off_m**2))), 1),
        "off_path_max_mm": round(1e3 * float(off_m.max()), 1),
        "success_percent": round(100 * sum(t.success for t in trials) / len(trials)),
        "time_s": round(float(np.mean([t.elapsed_s for t in trials])), 2),
    }


def _report(robot: Embodiment, rows: list[dict[str, Any]], tasks: tuple[str, ...], seeds: int) -> BenchReport:
    def of(name: str, key: str) -> list[float]:
        return [row[key] for row in rows if (row["strategy"] == NAIVE) == (name == NAIVE)]

    ours, naive = max(of("ours", "asked_step_mrad")), max(of(NAIVE, "asked_step_mrad"))
    tick_s = 1 / robot.command.rate_hz
    allowed = robot.safety.acceleration_fraction * max(TABLES[robot.safety.limits].acceleration) * tick_s
    return BenchReport(
        name="delay",
        settings={
            "tasks": list(tasks),
            "seeds": seeds,
            "policy_hz": robot.policy.rate_hz,
            "execute_rows": robot.policy.execute_rows,
            "action_horizon": robot.policy.action_horizon,
            "blend_s": robot.policy.blend_s,
            "ensemble_decay_per_s": robot.policy.ensemble_decay_per_s,
            "noise_rad": NOISE_RAD,
        },
        rows=rows,
        ratios={"largest step that naive appending asks for, against that of the schedule": naive / ours},
        goals=[
            Goal("largest commanded velocity step, rad/s", max(row["velocity_step_rad_s"] for row in rows), allowed),
        ],
        notes=[
            f"virtual time, no threads: the same figures on every machine; a tick is {tick_s * 1e3:g} ms, an inference under way leaves policy ticks out",
            "the policy is an oracle: from the measured joints on along the scripted expert's way, each chunk off by its own constant error (noise_rad)",
            "asked steps are the reference's from tick to tick, before the limiter; the others are the commands', after it (step: what a trapezoid of the velocities leaves)",
            "the arm brakes when no row is left (starved)",
        ],
    )
