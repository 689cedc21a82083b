"""Chunks to one reference: due times, order of take-over, no jump, late rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.control.chunk import Chunk
from hpt_ros.control.merging import Blend, RecedingHorizon, Strategy, TemporalEnsemble
from hpt_ros.control.schedule import Schedule

PERIOD = 100_000_000
TICK = 10_000_000
START = 1_000 * PERIOD
J = 2


def chunk(tick_ns: int, values: list[float], source: str = "policy", gripper: float = 0.08) -> Chunk:
    rows = np.array([[v] * J + [gripper] for v in values])
    return Chunk(tick_ns, PERIOD, ("a", "b", "gripper_width"), rows, "f", source)


@pytest.fixture
def schedule() -> Schedule:
    result = Schedule(J, execute_rows=2)
    result.start(START, np.zeros(J), np.zeros(J), 0.08)
    return result


def position(schedule: Schedule, t_ns: int) -> float:
    reference = schedule.sample(t_ns)
    assert reference is not None
    return float(reference.position[0])


def test_rows_are_met_at_their_due_times(schedule: Schedule) -> None:
    schedule.offer(chunk(START, [0.1, 0.3, 0.4]), START)
    schedule.sample(START)
    for i, value in enumerate([0.1, 0.3, 0.4]):
        assert position(schedule, START + (i + 1) * PERIOD) == pytest.approx(value)
    assert schedule.sample(START + 3 * PERIOD + 1) is None


def test_velocity_is_the_derivative_of_position_and_ends_at_zero(schedule: Schedule) -> None:
    schedule.offer(chunk(START, [0.1, 0.3, 0.2, 0.25]), START)
    schedule.sample(START)
    eps = 10_000
    for t in range(START + TICK, START + 4 * PERIOD - TICK, TICK):
        a, b, c = (schedule.sample(t + d) for d in (-eps, 0, eps))
        np.testing.assert_allclose((c.position - a.position) / (2 * eps * 1e-9), b.velocity, atol=1e-3)
    np.testing.assert_allclose(schedule.sample(START + 4 * PERIOD).velocity, 0, atol=1e-9)


def test_the_newest_chunk_takes_over_after_the_rows_to_execute(schedule: Schedule) -> None:
    schedule.offer(chunk(START, [1, 1, 1, 1]), START)
    schedule.sample(START)
    schedule.offer(chunk(START + PERIOD, [5, 5, 5, 5]), START + PERIOD)  # replaced before its turn comes
    schedule.offer(chunk(START + PERIOD, [2, 2, 2, 2]), START + PERIOD)
    assert position(schedule, START + 2 * PERIOD - TICK) == pytest.approx(1)
    assert position(schedule, START + 2 * PERIOD) == pytest.approx(1)
    assert position(schedule, START + 3 * PERIOD) == pytest.approx(2)


def test_an_exhausted_chunk_gives_way_before_the_rows_to_execute(schedule: Schedule) -> None:
    schedule.offer(chunk(START, [1], "teleop:pad"), START)
    schedule.sample(START)
    schedule.offer(chunk(START + PERIOD, [2, 2], "teleop:pad"), START + PERIOD)
    assert position(schedule, START + PERIOD) == pytest.approx(1)
    assert position(schedule, START + 2 * PERIOD) == pytest.approx(2)


def test_a_person_takes_over_at_once_and_gives_back_at_once(schedule: Schedule) -> None:
    schedule.offer(chunk(START, [1, 1, 1, 1]), START)
    schedule.sample(START)
    schedule.offer(chunk(START, [2, 2, 2, 2], "teleop:pad"), START)
    assert schedule.sample(START + TICK).source == "teleop:pad"
    schedule.offer(chunk(START, [1, 1, 1, 1]), START)
    assert schedule.sample(START + 2 * TICK).source == "policy"


def test_late_rows_are_dropped_and_counted(schedule: Schedule) -> None:
    now = START + 2 * PERIOD + 1
    schedule.offer(chunk(START, [9, 9, 0.3, 0.4]), now)
    assert schedule.rows_late == 2
    assert position(schedule, now) == pytest.approx(0)
    assert position(schedule, START + 3 * PERIOD) == pytest.approx(0.3)


def test_a_chunk_whose_rows_are_all_late_is_never_followed(schedule: Schedule) -> None:
    schedule.offer(chunk(START, [9, 9]), START + 3 * PERIOD)
    assert schedule.rows_late == 2
    assert schedule.sample(START + 3 * PERIOD) is None


def test_gripper_widths_step_at_their_due_times(schedule: Schedule) -> None:
    rows = chunk(START, [0, 0, 0])
    rows.rows[:, 2] = [0.08, 0.0, 0.08]
    schedule.offer(rows, START)
    widths = [schedule.sample(START + n * PERIOD // 2).gripper_m for n in range(7)]
    assert widths == [0.08, 0.08, 0.08, 0.08, 0.0, 0.0, 0.08]


def test_starting_anew_forgets_chunks(schedule: Schedule) -> None:
    schedule.offer(chunk(START, [1, 1]), START)
    schedule.start(START + TICK, np.full(J, 7.0), np.zeros(J), 0.0)
    assert position(schedule, START + TICK) == 7.0
    assert schedule.sample(START + 2 * TICK) is None


steps = st.lists(
    st.tuples(st.integers(0, 2 * PERIOD), st.integers(0, PERIOD), st.lists(st.floats(-1, 1), min_size=4, max_size=4)),
    min_size=1,
    max_size=10,
)


@pytest.mark.parametrize(
    "strategy", [RecedingHorizon(), Blend(0.2), Blend(0.2, immediate=True), TemporalEnsemble(1.0, J)]
)
@given(script=steps)
@settings(max_examples=60, deadline=None)
def test_take_over_never_jumps(strategy: Strategy, script: list) -> None:
    """At every seam position and velocity go on from where they were, whatever the new chunk says."""
    schedule = Schedule(J, 2, strategy)
    schedule.start(START, np.zeros(J), np.zeros(J), None)
    t = START
    before = schedule.sample(t)
    for wait, latency, values in script:
        schedule.offer(chunk(t - latency, values), t)
        for _ in range(0, wait + TICK, TICK):
            t += TICK
            just_before = schedule._at(schedule._plan, t)
            now = schedule.sample(t)
            if now is None:
                schedule.start(t, before.position, np.zeros(J), None)
                now = schedule.sample(t)
            else:
                np.testing.assert_allclose(now.position, just_before.position, atol=1e-9)
                np.testing.assert_allclose(now.velocity, just_before.velocity, atol=1e-6)
            before = now


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=8))
def test_the_way_between_two_rows_stays_between_them(values: list[float]) -> None:
    schedule = Schedule(J, execute_rows=2)
    schedule.start(START, np.zeros(J), np.zeros(J), None)
    schedule.offer(chunk(START, values), START)
    schedule.sample(START)
    knots = [0.0, *values]
    for i in range(len(values)):
        low, high = sorted(knots[i : i + 2])
        for part in range(1, 10):
            here = position(schedule, START + i * PERIOD + part * PERIOD // 10)
            assert low - 1e-9 <= here <= high + 1e-9
