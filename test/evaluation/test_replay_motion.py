"""A demonstration as a motion: where it begins, what it keeps, and what a lagging arm looks like."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.control.homing import SPEED_RAD_S
from hpt_ros.errors import DataError
from hpt_ros.evaluation.replay_motion import REST_S, ReplayMotion, Track, tracking

PERIOD_S = 1 / 15
JOINTS = 3
NAMES = ("a", "b", "c")


def rows(count: int = 30) -> np.ndarray:
    """Joints on smooth curves, a gripper that closes in the middle."""
    t = np.arange(count) * PERIOD_S
    joints = 0.4 * np.sin(t[:, None] + np.arange(JOINTS))
    return np.column_stack([joints, np.where(t < t.mean(), 0.08, 0.0)])


def test_begins_where_the_arm_stands_and_is_never_fast_on_the_way() -> None:
    start = np.array([-0.5, 0.2, 1.0])
    motion = ReplayMotion(rows(), start, PERIOD_S)
    np.testing.assert_allclose(motion.at(0.0)[:JOINTS], start, atol=1e-12)
    way = np.array([motion.at(t)[:JOINTS] for t in np.arange(0, motion.begins_s, 0.01)])
    assert np.abs(np.diff(way, axis=0)).max() / 0.01 <= SPEED_RAD_S + 1e-9
    resting = motion.at(motion.begins_s - REST_S / 2)
    np.testing.assert_allclose(resting, rows()[0], atol=1e-12)


def test_rows_come_at_their_own_pace_and_the_last_one_stays() -> None:
    wanted = rows()
    motion = ReplayMotion(wanted, np.zeros(JOINTS), PERIOD_S)
    chunk = motion.chunk(motion.begins_s - PERIOD_S, len(wanted) + 5)
    np.testing.assert_allclose(chunk[: len(wanted), :JOINTS], wanted[:, :JOINTS], atol=1e-9)
    np.testing.assert_allclose(chunk[len(wanted) :], np.tile(wanted[-1], (5, 1)))
    assert motion.ends_s == pytest.approx(motion.begins_s + (len(wanted) - 1) * PERIOD_S)


def test_joints_are_mixed_between_rows_and_widths_are_not() -> None:
    wanted = rows()
    motion = ReplayMotion(wanted, np.zeros(JOINTS), PERIOD_S)
    between = np.array([motion.at(motion.begins_s + (i + 0.5) * PERIOD_S) for i in range(len(wanted) - 1)])
    np.testing.assert_allclose(between[:, :JOINTS], (wanted[1:, :JOINTS] + wanted[:-1, :JOINTS]) / 2, atol=1e-9)
    assert set(between[:, JOINTS]) == {0.08, 0.0}


def test_an_episode_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        ReplayMotion(np.zeros((0, 4)), np.zeros(JOINTS), PERIOD_S)


def track(lag_s: float, step_ns: int, offset: float = 0.0) -> Track:
    t_ns = np.arange(0, 4_000_000_000, step_ns)
    t_s = (t_ns * 1e-9 - lag_s)[:, None]
    return Track(t_ns, 0.4 * np.sin(2 * t_s + np.arange(JOINTS)) + offset)


def test_a_lag_is_found_and_an_offset_is_an_error() -> None:
    span_ns = (1_000_000_000, 3_000_000_000)
    commanded, lagging = track(0.0, 10_000_000), track(0.1, 5_000_000)
    for joint in tracking(NAMES, commanded, lagging, span_ns):
        assert joint.lag_s == pytest.approx(0.1, abs=0.004)
        assert 0.03 < joint.rms_rad < joint.max_rad < 0.081  # 0.8 rad/s times 0.1 s at most
    for joint in tracking(NAMES, commanded, track(0.0, 5_000_000, offset=0.01), span_ns):
        assert (joint.rms_rad, joint.max_rad) == pytest.approx((0.01, 0.01), abs=2e-4)
    assert [joint.name for joint in tracking(NAMES, commanded, lagging, span_ns)] == list(NAMES)


def test_only_the_time_of_the_demonstration_counts() -> None:
    commanded, measured = track(0.0, 10_000_000), track(0.0, 10_000_000)
    measured.q[:50] += 1.0  # the way there
    assert all(j.max_rad < 1e-9 for j in tracking(NAMES, commanded, measured, (500_000_000, 4_000_000_000)))
    with pytest.raises(DataError, match="no time in common"):
        tracking(NAMES, commanded, measured, (9_000_000_000, 10_000_000_000))
    with pytest.raises(DataError, match="no time in common"):
        tracking(NAMES, Track(np.empty(0, np.int64), np.empty((0, 3))), measured, (0, 4_000_000_000))
