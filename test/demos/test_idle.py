"""Standing still at the ends is cut off, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from synthetic import START_NS

from hpt_ros.demos import Demos, convert
from hpt_ros.demos.idle import MARGIN_S, activity
from hpt_ros.demos.settings import ConvertSettings

ROBOT = synthetic.embodiment(action_horizon=4)
NAMES = ROBOT.action_names
PERIOD_S = 1 / 15
MARGIN = round(MARGIN_S / PERIOD_S)
SECOND = 10**9


@given(before=st.integers(0, 40), moving=st.integers(1, 30), after=st.integers(0, 40), joint=st.integers(0, 7))
def test_only_what_lies_outside_the_margins_goes(before, moving, after, joint) -> None:
    """One column moves by `moving` steps; rows before and after stand still."""
    column = np.concatenate([np.zeros(before), np.arange(moving + 1), np.full(after, moving)])
    commands = np.zeros((len(column), 8), np.float32)
    commands[:, joint] = 0.01 * column
    found = activity(commands, NAMES, PERIOD_S, keep_idle=False)
    first, last = before, before + moving  # rows that the first step leaves, and the last step reaches
    assert (found.start, found.stop) == (max(0, first - MARGIN), min(len(column), last + 1 + MARGIN))
    rest = found.stop - found.start
    assert found.idle_share == pytest.approx(1 - (moving + 1) / rest, abs=1e-4)
    assert not found.never_moves
    kept = activity(commands, NAMES, PERIOD_S, keep_idle=True)
    assert (kept.start, kept.stop) == (0, len(column))


@pytest.mark.parametrize(
    ("column", "speed", "moves"), [(0, 0.009, False), (0, 0.011, True), (7, 0.0049, False), (7, 0.006, True)]
)
def test_slower_than_the_limits_is_standing_still(column, speed, moves) -> None:
    commands = np.zeros((60, 8), np.float32)
    commands[20:40, column] = speed * PERIOD_S * np.arange(20)
    commands[40:, column] = commands[39, column]
    found = activity(commands, NAMES, PERIOD_S, keep_idle=False)
    assert found.never_moves is not moves
    assert (found.start > 0) is moves


def test_without_any_motion_all_of_it_is_kept() -> None:
    found = activity(np.ones((50, 8), np.float32), NAMES, PERIOD_S, keep_idle=False)
    assert (found.start, found.stop, found.idle_share, found.never_moves) == (0, 50, 1.0, True)


def messages(seconds: float, moving: tuple[float, float]):
    """The commands stand still outside `moving` [s]."""
    for key, at, raw in synthetic.messages(ROBOT, seconds):
        if key != "command":
            yield key, at, raw
            continue
        held = np.clip(at - START_NS, moving[0] * SECOND, moving[1] * SECOND) / SECOND
        yield key, at, synthetic.command(at, ROBOT, np.append(np.full(7, 0.5 * held), 0.04))


def test_conversion_cuts_reports_and_keeps_on_request(tmp_path) -> None:
    bag = synthetic.record(tmp_path / "bags", ROBOT, messages(4.0, (1.5, 2.5)))
    whole = convert([bag], None, tmp_path / "whole", ConvertSettings(keep_idle=True))
    report = convert([bag], None, tmp_path / "demos")
    (cut_s,) = report.idle_s.values()
    demos, complete = Demos.open(tmp_path / "demos"), Demos.open(tmp_path / "whole")
    (start,) = np.flatnonzero(complete.tick_ns == demos.tick_ns[0])
    for name in ("state", "command", "tick_ns"):
        np.testing.assert_array_equal(getattr(demos, name), getattr(complete, name)[start : start + len(demos)])
    np.testing.assert_array_equal(demos.images["front"], complete.images["front"][start : start + len(demos)])
    assert demos.tick_ns[0] == pytest.approx(START_NS + 1.0 * SECOND, abs=2 * PERIOD_S * SECOND)
    assert demos.tick_ns[-1] == pytest.approx(START_NS + 3.0 * SECOND, abs=2 * PERIOD_S * SECOND)
    assert cut_s == pytest.approx((len(complete) - len(demos)) * PERIOD_S, abs=0.01)
    assert report.idle_share == pytest.approx(0.5, abs=0.05)
    assert (whole.idle_s.popitem()[1], whole.idle_share) == (0.0, pytest.approx(0.74, abs=0.04))


def test_an_arm_that_never_moves_is_told(tmp_path) -> None:
    bag = synthetic.record(tmp_path / "bags", ROBOT, messages(1.5, (0.0, 0.0)))
    report = convert([bag], None, tmp_path / "demos")
    assert [text for _, text in report.remarks] == ["nothing moves in it: kept whole"]
    assert report.idle_share == 1.0
