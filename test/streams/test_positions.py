"""Positions read where they lay in the message before are those of a decoded message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import START_NS

from hpt_ros.errors import StreamError
from hpt_ros.streams import decode as module
from hpt_ros.streams.cdr import decode
from hpt_ros.streams.decode import command_positions, is_intervention, joint_positions

NAMES = ("j1", "joint_two", "j3")
JOINTS = "sensor_msgs/msg/JointState"


def message(names: list[str], values: list[float], extra: int, little: bool, stamp_ns: int) -> bytes:
    """A JointState with as many velocities as `extra`."""
    return synthetic._serialize(
        JOINTS,
        stamp_ns,
        little,
        name=names,
        position=np.array(values),
        velocity=np.arange(float(extra)),
        effort=np.array([]),
    )


messages_ = st.builds(
    message,
    names=st.permutations([*NAMES, "other"]),
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
    extra=st.sampled_from([0, 4]),
    little=st.booleans(),
    stamp_ns=st.integers(START_NS, START_NS + 10**9),
)


@settings(max_examples=40, deadline=None)
@given(series=st.lists(messages_, min_size=2, max_size=6))
def test_positions_are_those_of_the_decoded_message(series: list[bytes]) -> None:
    for raw in [*series, *series]:
        whole = decode(raw, JOINTS)
        by_name = dict(zip(whole.name, whole.position.tolist(), strict=True))
        assert joint_positions(raw, NAMES).tolist() == [by_name[name] for name in NAMES]
        assert joint_positions(memoryview(raw), NAMES[:1]).tolist() == [by_name["j1"]]  # type: ignore[arg-type]


def test_a_message_of_known_layout_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = synthetic.embodiment()
    first, second = (synthetic.command(START_NS + k, robot, np.arange(8.0) + k) for k in (0, 1))
    np.testing.assert_array_equal(command_positions(first, robot.action_names), np.arange(8.0))

    def refuse(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(module, "decode", refuse)
    np.testing.assert_array_equal(command_positions(second, robot.action_names), np.arange(8.0) + 1)
    with pytest.raises(AssertionError, match="decoded"):
        command_positions(second, robot.action_names[::-1])


@pytest.mark.parametrize("values", [[0.0, np.nan, 1.0], [0.0, 1.0]])
def test_what_is_refused_stays_refused(values: list[float]) -> None:
    good = message(list(NAMES), [1.0, 2.0, 3.0], 0, True, START_NS)
    assert joint_positions(good, NAMES).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(StreamError, match=r"not finite: joint_two = nan|no position for j3"):
        joint_positions(message(list(NAMES), values, 0, True, START_NS), NAMES)
    with pytest.raises(StreamError):
        joint_positions(good[:-2], NAMES)
    assert joint_positions(good, NAMES).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("padding", range(4))
def test_a_command_ends_in_as_much_padding_as_the_middleware_likes(padding: int) -> None:
    robot = synthetic.embodiment()
    whole = synthetic.command(START_NS, robot, np.arange(8.0), source="teleop:" + "x" * padding)
    before_interventions = whole[:-1]
    for raw in (whole, before_interventions):
        np.testing.assert_array_equal(command_positions(raw + bytes(padding), robot.action_names), np.arange(8.0))
    assert is_intervention(before_interventions + b"\1" + bytes(padding))
    assert not is_intervention(whole + bytes(padding))
    assert not is_intervention(before_interventions + bytes(padding))
