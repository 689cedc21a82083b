"""Strategies by which chunks follow each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpt_ros.control.chunk import Chunk
from hpt_ros.control.merging import (
    Blend,
    RecedingHorizon,
    Strategy,
    TemporalEnsemble,
    make_strategy,
    weighted_median,
)
from hpt_ros.control.schedule import Schedule
from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import ConfigError

PERIOD = 100_000_000
START = 1_000 * PERIOD
J = 2
STRATEGIES = [
    RecedingHorizon(),
    Blend(0.3),
    Blend(0.3, immediate=True),
    TemporalEnsemble(2.0, J),
    TemporalEnsemble(-5.0, J),
]


def chunk(tick_ns: int, values: list[float], source: str = "policy", gripper: float = 0.08) -> Chunk:
    rows = np.array([[v] * J + [gripper] for v in values])
    return Chunk(tick_ns, PERIOD, ("a", "b", "gripper_width"), rows, "f", source)


def started(strategy: Strategy) -> Schedule:
    schedule = Schedule(J, 2, strategy)
    schedule.start(START, np.zeros(J), np.zeros(J), 0.08)
    return schedule


def test_ensemble_is_the_weighted_mean_of_what_each_chunk_says_about_a_time() -> None:
    schedule = started(TemporalEnsemble(2.0, J))
    for n, value in enumerate([0.1, 0.4, 0.7]):
        schedule.offer(chunk(START + n * PERIOD, [value] * 8), START + n * PERIOD)
        schedule.sample(START + n * PERIOD)
    weights = np.exp(-2.0 * np.array([0.2, 0.1, 0.0]))
    expected = float(weights @ [0.1, 0.4, 0.7] / weights.sum())
    assert schedule.sample(START + 5 * PERIOD).position == pytest.approx([expected] * J)
    assert schedule.sample(START + 10 * PERIOD).position == pytest.approx([0.7] * J), "only the newest reaches there"


def test_a_positive_decay_trusts_the_newest_more_and_a_negative_one_the_oldest() -> None:
    def mean(decay_per_s: float) -> float:
        strategy = TemporalEnsemble(decay_per_s, J)
        strategy.join(chunk(START, [0.0] * 8), START, lambda t: None)
        return float(strategy.join(chunk(START + PERIOD, [1.0] * 8), START, lambda t: None).rows[0, 0])

    assert mean(-3.0) < 0.5 == mean(0.0) < mean(3.0)


def test_the_gripper_is_never_a_mean() -> None:
    for strategy in STRATEGIES:
        strategy.reset()
        strategy.join(chunk(START, [0.0] * 4, gripper=0.08), START, lambda t: np.zeros(J))
        joined = strategy.join(chunk(START, [1.0] * 4, gripper=0.0), START, lambda t: np.zeros(J))
        assert (joined.rows[:, J] == 0).all()


def test_an_ensemble_closes_the_gripper_when_half_of_its_weight_says_so() -> None:
    """Each chunk says: closed from its fifth row on. Executed one after the other they never close it."""
    late = np.array([[0.0] * J + [0.08]] * 4 + [[0.0] * J + [0.0]] * 4)

    def widths(decay_per_s: float) -> list[float]:
        strategy = TemporalEnsemble(decay_per_s, J)
        for n in range(8):
            tick_ns = START + n * PERIOD
            made = replace(chunk(tick_ns, [0.0] * 8), rows=late)
            joined = strategy.join(made, tick_ns, lambda t: None)
        return [float(width) for width in joined.rows[:, J]]

    assert widths(0.0)[0] == 0.0, "five of the eight that speak of that time"
    assert widths(20.0)[0] == 0.08, "the newest alone"
    assert set(widths(2.0)) == {0.08, 0.0}


def test_weighted_median_takes_the_value_at_half_of_the_weight() -> None:
    values = np.array([[3.0, 3.0], [1.0, 1.0], [2.0, 2.0]])
    weights = np.array([[1.0, 5.0], [1.0, 1.0], [1.0, 1.0]])
    assert weighted_median(values, weights).tolist() == [2.0, 3.0]
    assert weighted_median(values[..., None], weights).tolist() == [[2.0], [3.0]]
    assert weighted_median(np.empty((3, 2, 0)), weights).shape == (2, 0)


@pytest.mark.parametrize("immediate", [False, True])
def test_blend_executes_its_rows_before_it_fades_unless_every_chunk_takes_over(immediate: bool) -> None:
    schedule = started(Blend(0.1, immediate=immediate))
    schedule.offer(chunk(START, [0.0] * 8), START)
    schedule.sample(START)
    schedule.offer(chunk(START + PERIOD // 2, [1.0] * 8), START + PERIOD // 2)
    schedule.sample(START + PERIOD)
    early = schedule.sample(START + 19 * PERIOD // 10)
    assert early is not None
    assert bool((early.position > 0).all()) is immediate, "two rows of the first chunk are due at 2 periods"
    schedule.sample(START + 2 * PERIOD)
    late = schedule.sample(START + 4 * PERIOD)
    assert late is not None
    assert late.position == pytest.approx([1.0] * J)


def test_one_row_to_execute_lets_every_chunk_blend_in() -> None:
    policy = replace(load_embodiment("sim_panda").policy, strategy="blend")
    assert not make_strategy(policy, J).immediate
    assert make_strategy(replace(policy, execute_rows=1), J).immediate


def test_a_persons_chunk_is_not_mixed_with_the_policys() -> None:
    strategy = TemporalEnsemble(0.0, J)
    strategy.join(chunk(START, [1.0] * 8), START, lambda t: None)
    hand = chunk(START, [0.0] * 8, "teleop:pad")
    assert strategy.join(hand, START, lambda t: None) is hand
    back = strategy.join(chunk(START, [0.5] * 8), START, lambda t: None)
    assert back.rows[:, 0] == pytest.approx([0.5] * 8)


def test_blend_begins_with_the_motion_in_force_and_ends_with_the_new_chunk() -> None:
    joined = Blend(0.4).join(chunk(START, [1.0] * 6), START + PERIOD, lambda t: np.zeros(J))
    assert joined.rows[:, 0] == pytest.approx([0.0, 0.15625, 0.5, 0.84375, 1.0, 1.0])


def test_what_a_reset_forgets_does_not_come_back() -> None:
    schedule = started(TemporalEnsemble(0.0, J))
    schedule.offer(chunk(START, [1.0] * 8), START)
    schedule.sample(START)
    schedule.start(START + PERIOD, np.zeros(J), np.zeros(J), 0.08)
    schedule.offer(chunk(START + PERIOD, [0.0] * 8), START + PERIOD)
    assert schedule.sample(START + 4 * PERIOD).position == pytest.approx([0.0] * J)


def test_seams_are_counted_and_measured() -> None:
    schedule = started(Blend(0.3))
    schedule.offer(chunk(START, [0.0] * 8), START)
    schedule.sample(START)
    assert schedule.seams == 0, "the first chunk follows nothing"
    schedule.offer(chunk(START + 5 * PERIOD, [1.0] * 8), START + 5 * PERIOD)
    schedule.sample(START + 5 * PERIOD)
    assert schedule.seams == 1
    assert 0 < schedule.largest_seam_rad < 0.5


@pytest.mark.parametrize(
    ("name", "kind"),
    [("receding_horizon", RecedingHorizon), ("blend", Blend), ("temporal_ensemble", TemporalEnsemble)],
)
def test_the_embodiment_names_the_strategy(name: str, kind: type) -> None:
    policy = replace(load_embodiment("sim_panda").policy, strategy=name)
    assert isinstance(make_strategy(policy, 7), kind)


def test_impossible_windows_are_refused_by_name() -> None:
    policy = load_embodiment("sim_panda").policy
    with pytest.raises(ConfigError, match="blend_s"):
        replace(policy, blend_s=0.0)
    with pytest.raises(ConfigError, match="ensemble_decay_per_s"):
        replace(policy, ensemble_decay_per_s=1e3)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("latency_ms", [1, 8, 20, 40, 60, 90])
@pytest.mark.parametrize("source", ["policy", "teleop:pad"])
def test_a_gripper_is_heard_at_every_latency(strategy: Strategy, latency_ms: int, source: str) -> None:
    """Chunks may follow each other faster than their rows are due."""
    schedule, ms = started(strategy), 1_000_000
    arrivals = [(START + n * PERIOD // 2, START + n * PERIOD // 2 + latency_ms * ms) for n in range(20)]
    for t in range(START, START + 10 * PERIOD, 10 * ms):
        while arrivals and arrivals[0][1] <= t:
            schedule.offer(chunk(arrivals.pop(0)[0], [0.0] * 8, source, gripper=0.0), t)
        reference = schedule.sample(t + 30 * ms)
        if reference is not None and reference.gripper_m == 0.0:
            return
    pytest.fail("never closed")


def test_a_persons_newer_chunk_takes_over_at_once() -> None:
    schedule = started(RecedingHorizon())
    schedule.offer(chunk(START, [0.1] * 8, "teleop:pad"), START)
    schedule.sample(START)
    schedule.offer(chunk(START + PERIOD // 2, [0.2] * 8, "teleop:pad"), START + PERIOD // 2)
    schedule.sample(START + PERIOD // 2)
    assert schedule.sample(START + 2 * PERIOD).position == pytest.approx([0.2] * J)
