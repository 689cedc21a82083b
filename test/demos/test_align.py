"""Offline alignment against the live one, on the same bytes, under jitter, loss and disorder."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import MS, START_NS

from hpt_ros.demos.align import align
from hpt_ros.errors import DataError
from hpt_ros.streams import Observer, header_stamp_ns

ROBOT = synthetic.embodiment(observation_horizon=2)
ALLOWANCE_NS = {s.key: s.allowance_ns for s in ROBOT.streams()}
SECONDS = 1.2
MESSAGES = list(synthetic.messages(ROBOT, SECONDS))


def disturbed(seed: int, loss: float) -> list[tuple[int, str, bytes]]:
    """(arrival, key, message) in order of arrival, each delayed by less than its stream's allowance, some lost."""
    chance = random.Random(seed)
    kept = [(key, stamp, raw) for key, stamp, raw in MESSAGES if chance.random() >= loss]
    delayed = [(stamp + chance.randrange(max(1, ALLOWANCE_NS.get(key, 5 * MS))), key, raw) for key, stamp, raw in kept]
    return sorted(delayed, key=lambda item: item[0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.05, 0.3]))
def test_offline_rows_are_what_the_live_observer_sees(seed, loss) -> None:
    arrivals = disturbed(seed, loss)
    try:
        rows = list(align(((key, raw) for _, key, raw in arrivals), ROBOT))
    except DataError:
        assert loss == 0.3, "without loss no stream goes stale"
        return
    live, waiting = Observer(ROBOT), list(arrivals)
    for previous, row in itertools.pairwise(rows):
        tick_ns = row.observation.tick_ns
        while waiting and waiting[0][0] <= tick_ns:
            _, key, raw = waiting.pop(0)
            if key != "command":
                live.push(key, raw)
        seen = live.observe(tick_ns)
        np.testing.assert_array_equal(seen.state, np.concatenate([previous.observation.state, row.observation.state]))
        for name, frames in seen.images.items():
            expected = [previous.observation.images[name], row.observation.images[name]]
            np.testing.assert_array_equal(frames, np.concatenate(expected))
        assert seen.ages_ns == row.observation.ages_ns
    assert live.late_samples == dict.fromkeys(ALLOWANCE_NS, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_each_tick_has_the_command_in_force(seed) -> None:
    arrivals = disturbed(seed, loss=0.05)
    rows = list(align(((key, raw) for _, key, raw in arrivals), ROBOT))
    stamps = sorted(header_stamp_ns(raw) for _, key, raw in arrivals if key == "command")
    ticks = [row.observation.tick_ns for row in rows]
    assert set(np.diff(ticks)) == {ROBOT.policy.period_ns}
    assert ticks[-1] <= stamps[-1] < ticks[-1] + ROBOT.policy.period_ns
    for row in rows:
        in_force = max(stamp for stamp in stamps if stamp <= row.observation.tick_ns)
        expected = np.append(synthetic.joint_values(in_force, 7) + 0.01, 0.04).astype(np.float32)
        np.testing.assert_array_equal(row.command, expected)
        assert row.command_age_ns == row.observation.tick_ns - in_force


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_order_of_arrival_in_the_bag_does_not_matter(seed) -> None:
    chance = random.Random(seed)
    delay = {stamp: chance.randrange(200 * MS) if stamp > START_NS else 0 for _, stamp, _ in MESSAGES}
    shuffled = sorted(MESSAGES, key=lambda item: item[1] + delay[item[1]])
    assert shuffled != MESSAGES
    rows = [list(align(((key, raw) for key, _, raw in order), ROBOT)) for order in (MESSAGES, shuffled)]
    for ordered, disordered in zip(*rows, strict=True):
        assert disordered.observation.tick_ns == ordered.observation.tick_ns
        assert disordered.observation.ages_ns == ordered.observation.ages_ns
        np.testing.assert_array_equal(disordered.observation.state, ordered.observation.state)
        np.testing.assert_array_equal(disordered.command, ordered.command)


def test_first_tick_is_the_earliest_with_everything() -> None:
    rows = list(align(((key, raw) for key, _, raw in MESSAGES), ROBOT))
    assert rows[0].observation.tick_ns == START_NS + max(ALLOWANCE_NS.values())
    late_start = [(key, raw) for key, stamp, raw in MESSAGES if key != "command" or stamp >= START_NS + 500 * MS]
    assert next(align(late_start, ROBOT)).observation.tick_ns == START_NS + 500 * MS


def test_ticks_without_an_observation_before_the_first_are_passed_over() -> None:
    def arrives(key: str, stamp: int) -> bool:
        """The camera pauses between its first frame and 590 ms; commands begin in that pause."""
        if key == "command":
            return stamp >= START_NS + 300 * MS
        return key != "camera.front" or stamp == START_NS or stamp >= START_NS + 590 * MS

    rows = list(align(((key, raw) for key, stamp, raw in MESSAGES if arrives(key, stamp)), ROBOT))
    ready_ns = START_NS + 590 * MS + ALLOWANCE_NS["camera.front"]
    assert ready_ns <= rows[0].observation.tick_ns < ready_ns + 2 * ROBOT.policy.period_ns


def without(key: str, from_ms: int, to_ms: int = 10**6):
    for name, stamp, raw in MESSAGES:
        if name != key or not from_ms <= (stamp - START_NS) / MS < to_ms:
            yield name, raw


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (without("camera.wrist", 400), r"after the first tick: stream camera.wrist: newest sample is \d+ ms old"),
        (without("joints", 0), "nothing from joints"),
        (without("command", 0), "nothing from command"),
        (without("command", 200, 900), "no command for 0.7. s"),
        ([("joints", b"garbage!")], "joints: 8 bytes"),
    ],
)
def test_what_cannot_be_aligned_is_named(messages, reason) -> None:
    with pytest.raises(DataError, match=reason):
        list(align(messages, ROBOT))


def test_episode_ends_with_the_last_command_whatever_follows() -> None:
    cut_ms = 600
    rows = list(align(without("command", cut_ms), ROBOT))
    assert START_NS + (cut_ms - 10) * MS - ROBOT.policy.period_ns < rows[-1].observation.tick_ns
    assert rows[-1].observation.tick_ns <= START_NS + (cut_ms - 10) * MS
