"""Edges, hysteresis, minimum interval, newest wish."""

from __future__ import annotations

import pytest

from hpt_ros.control.gripper import GripperSwitch

S = 1_000_000_000


def started(measured: float) -> GripperSwitch:
    switch = GripperSwitch(0.08)
    switch.start(measured)
    return switch


@pytest.mark.parametrize(("measured", "target"), [(0.079, 0.08), (0.04, 0.0), (0.0, 0.0)])
def test_starts_where_the_fingers_are_without_an_edge(measured: float, target: float) -> None:
    switch = started(measured)
    assert switch.target_m == target
    assert not switch.update(target, 0)


def test_hysteresis() -> None:
    switch = started(0.08)
    assert not switch.update(0.035, S)  # 44 %
    assert switch.update(0.03, S)  # 38 %
    assert not switch.update(0.045, 9 * S)  # 56 %
    assert switch.target_m == 0.0
    assert switch.update(0.05, 9 * S)  # 63 %
    assert switch.target_m == 0.08


def test_no_second_command_within_the_interval_then_the_newest_wish() -> None:
    switch = started(0.08)
    assert switch.update(0.0, S)
    assert not switch.update(0.08, S + S // 4)
    assert switch.target_m == 0.0
    assert not switch.update(0.0, S + S)  # the wish to open was taken back
    assert switch.update(0.08, S + S + 1)
