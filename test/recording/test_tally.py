"""Counts, gaps and losses of a topic."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from synthetic import MS, START_NS

from hpt_ros.recording.tally import GapHistogram, TopicTally, has_header

IMAGE = "sensor_msgs/msg/Image"


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=300), st.floats(0.01, 1.0))
def test_quantiles_are_within_a_class_of_the_exact_ones(gaps, share) -> None:
    histogram = GapHistogram()
    for gap in gaps:
        histogram.add(gap)
    exact = int(np.percentile(gaps, 100 * share, method="inverted_cdf"))
    assert exact <= histogram.quantile_ns(share) <= exact * (1 + 1 / 32)
    assert histogram.max_ns == max(gaps)


def images(stamps) -> list[bytes]:
    return [synthetic.joint_state(START_NS + stamp, {"a": 0.0}) for stamp in stamps]


def tally(stamps_ms, rate_hz=100.0) -> TopicTally:
    counted = TopicTally("sensor_msgs/msg/JointState", rate_hz)
    for stamp_ms, raw in zip(stamps_ms, images(round(s * MS) for s in stamps_ms), strict=True):
        counted.add(START_NS + round(stamp_ms * MS), raw)
    return counted


def test_missing_stamps_are_counted_once_nothing_makes_up_for_them() -> None:
    stamps = [10 * i for i in range(100) if i not in (20, 21, 50)]
    counted = tally(stamps)
    assert counted.drops == 3
    assert counted.statistics()["missing_by_stamps"] == 3


def test_a_burst_after_a_pause_is_late_not_missing() -> None:
    stamps = [*range(0, 500, 10), *(550 + 0.1 * i for i in range(6)), *range(560, 1000, 10)]
    assert tally(stamps).statistics()["missing_by_stamps"] == 0


def test_a_long_pause_that_is_made_up_for_is_late_too() -> None:
    stamps = [*range(0, 500, 10), *(1500 + 0.1 * i for i in range(101)), *range(1510, 3000, 10)]
    assert tally(stamps).statistics()["missing_by_stamps"] == 0


def test_what_is_missing_at_the_end_counts_too() -> None:
    assert tally([0, 10, 20, 60]).statistics()["missing_by_stamps"] == 3


@pytest.mark.parametrize(("sequences", "lost"), [((1, 2, 3), 0), ((5, 6, 9), 2), ((0, 0, 0), None)])
def test_loss_by_the_publishers_numbers(sequences, lost) -> None:
    counted = TopicTally("std_msgs/msg/String")
    for sequence in sequences:
        counted.add(START_NS, b"", sequence, b"one")
    assert counted.lost == lost


def test_every_publisher_has_its_own_numbers() -> None:
    counted = TopicTally("std_msgs/msg/String")
    for sequence, publisher in ((1, b"one"), (90, b"two"), (2, b"one"), (91, b"two")):
        counted.add(START_NS, b"", sequence, publisher)
    assert counted.lost == 0


def test_which_types_have_a_header() -> None:
    assert has_header(IMAGE)
    assert has_header("hpt_ros/msg/Command")
    assert not has_header("std_msgs/msg/String")
    assert not has_header("acme_msgs/msg/Odd")
