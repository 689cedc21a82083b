"""Late chunks in virtual time: what is asked of the limiter, what leaves it, and that the arm arrives."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")

from hpt_ros.benchmarks import delay
from hpt_ros.benchmarks.delay_scene import NaiveAppending
from hpt_ros.control.chunk import POLICY, Chunk
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment import load_embodiment

ROBOT = load_embodiment("sim_panda")
PERIOD_NS = ROBOT.policy.period_ns
TICK_S = 1 / ROBOT.command.rate_hz


def run(strategy: str, delay_s: float) -> delay.Trial:
    return delay.trial(ROBOT, strategy, "reach", delay_s, 0)


@pytest.mark.parametrize("strategy", [s for s in delay.STRATEGIES if s != delay.NAIVE])
@pytest.mark.parametrize("delay_s", [0.3])
def test_a_schedule_asks_for_small_steps_and_the_arm_arrives(strategy: str, delay_s: float) -> None:
    trial = run(strategy, delay_s)
    assert trial.success
    assert trial.asked_step_rad < 0.1
    assert trial.velocity_step_rad_s <= max(TABLES["fer"].acceleration) * 0.4 * TICK_S * 1.001
    assert np.sqrt(np.mean(np.square(trial.off_path_m))) < 0.03


def test_appending_asks_for_jumps_that_grow_with_the_delay_and_the_limiter_lets_none_through() -> None:
    prompt, late = run(delay.NAIVE, 0.0), run(delay.NAIVE, 0.3)
    assert late.asked_step_rad > 2 * prompt.asked_step_rad > 0.05
    assert late.step_rad < 0.001
    assert late.velocity_step_rad_s <= max(TABLES["fer"].acceleration) * 0.4 * TICK_S * 1.001


def test_a_trial_repeats() -> None:
    assert run("blend", 0.2) == run("blend", 0.2)


def test_the_baseline_executes_whole_chunks_and_ignores_their_times() -> None:
    naive = NaiveAppending(1)
    naive.start(0, np.zeros(1), np.zeros(1), None)
    first, second = (
        Chunk(made_ns, PERIOD_NS, ("a", "w"), np.column_stack([rows, np.zeros(3)]), "", POLICY)
        for made_ns, rows in ((0, [1.0, 2.0, 3.0]), (PERIOD_NS, [7.0, 8.0, 9.0]))
    )
    naive.offer(first, 5 * PERIOD_NS)
    assert naive.sample(5 * PERIOD_NS).position == 1.0
    naive.offer(second, 6 * PERIOD_NS)
    assert naive.sample(6 * PERIOD_NS).position == 2.0
    assert naive.sample(7 * PERIOD_NS - PERIOD_NS // 2).position == pytest.approx(2.5, abs=1e-6)
    assert naive.sample(7 * PERIOD_NS).position == 7.0
    assert naive.sample(9 * PERIOD_NS) is None
