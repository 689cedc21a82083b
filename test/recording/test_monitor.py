"""A stream that is silent, frozen or slow is found within a second, and a healthy one is left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import START_NS, frame, image, joint_state

from hpt_ros.recording.monitor import StreamContract, StreamMonitor

STEP_NS = 100_000_000
JOINTS = StreamContract(rate_hz=1000.0, max_age_s=0.2)
CAMERA = StreamContract(rate_hz=30.0, max_age_s=0.25, compare_payload=True)


def arrivals(rate_hz: float, seconds: float, start_ns: int = START_NS) -> Iterator[int]:
    for i in range(int(rate_hz * seconds)):
        yield start_ns + round(i * 1e9 / rate_hz)


def first_warning(monitor: StreamMonitor, messages, until_ns: int):
    """(ns, warning) at the first step with one; None if there is none. Steps as the recorder does."""
    messages = iter(messages)
    following = next(messages, None)
    for now_ns in range(START_NS + STEP_NS, until_ns, STEP_NS):
        while following is not None and following[0] <= now_ns:
            monitor.add(*following)
            following = next(messages, None)
        monitor.step(now_ns)
        if warning := monitor.warning(now_ns):
            return now_ns, warning
    return None


def state(stamp_ns: int) -> bytes:
    return joint_state(stamp_ns, {"a": 0.1})


@pytest.mark.parametrize("rate_hz", [1000.0, 800.0])
def test_an_idle_arm_at_the_expected_rate_is_healthy(rate_hz) -> None:
    messages = [(ns, state(ns)) for ns in arrivals(rate_hz, 2.0)]
    assert first_warning(StreamMonitor("/joints", JOINTS), messages, messages[-1][0]) is None


@settings(max_examples=25, deadline=None)
@given(rate_hz=st.floats(3.0, 200.0), phase=st.floats(0.0, 1.0))
def test_no_rate_is_slow_for_want_of_a_long_enough_window(rate_hz, phase) -> None:
    monitor = StreamMonitor("/t", StreamContract(rate_hz, 10.0, has_header=False))
    start = START_NS + round(phase * 1e9 / rate_hz)
    messages = [(START_NS, b""), *((ns, b"") for ns in arrivals(rate_hz, 6.0, start))]
    assert first_warning(monitor, messages, messages[-1][0]) is None


def test_half_the_rate_is_slow_within_a_second() -> None:
    turn = START_NS + 10**9
    messages = [(ns, state(ns)) for ns in (*arrivals(1000.0, 1.0), *arrivals(500.0, 2.0, turn))]
    now_ns, warning = first_warning(StreamMonitor("/joints", JOINTS), messages, turn + 2 * 10**9)
    assert now_ns - turn < 10**9
    assert warning.kind == "slow"
    assert "1000 Hz expected" in warning.text


def test_silence_is_told_after_the_age_budget() -> None:
    messages = [(ns, state(ns)) for ns in arrivals(1000.0, 1.0)]
    now_ns, warning = first_warning(StreamMonitor("/joints", JOINTS), messages, START_NS + 3 * 10**9)
    assert warning.kind == "silent"
    assert 0.25e9 < now_ns - messages[-1][0] < 0.4e9


def test_nothing_at_all_is_silence() -> None:
    assert StreamMonitor("/joints", JOINTS).warning(START_NS).text == "/joints: silent: nothing came yet"


def test_a_header_stamp_that_stands_still_is_frozen() -> None:
    turn = START_NS + 10**9
    messages = [(ns, state(min(ns, turn))) for ns in arrivals(1000.0, 3.0)]
    now_ns, warning = first_warning(StreamMonitor("/joints", JOINTS), messages, turn + 2 * 10**9)
    assert (warning.kind, now_ns - turn < 10**9) == ("frozen", True)


@pytest.mark.parametrize("padding", [0, 7])
def test_a_camera_that_repeats_its_picture_under_new_stamps_is_frozen(padding) -> None:
    turn = START_NS + 10**9
    messages = [
        (ns, image(ns, frame(i if ns < turn else -1 % 2**31), padding=padding))
        for i, ns in enumerate(arrivals(30.0, 3.0))
    ]
    now_ns, warning = first_warning(StreamMonitor("/camera", CAMERA), messages, turn + 2 * 10**9)
    assert warning.kind == "frozen"
    assert now_ns - turn < 10**9
    assert "identical frames" in warning.text


def test_frames_that_differ_in_one_pixel_are_not_frozen() -> None:
    def picture(i: int):
        pixels = frame(0)
        pixels[20, 30, 1] = i % 256
        return pixels

    messages = [(ns, image(ns, picture(i))) for i, ns in enumerate(arrivals(30.0, 3.0))]
    assert first_warning(StreamMonitor("/camera", CAMERA), messages, messages[-1][0]) is None


def test_a_rendered_camera_may_repeat_its_picture() -> None:
    contract = StreamContract(rate_hz=30.0, max_age_s=0.25)
    messages = [(ns, image(ns, frame(0))) for ns in arrivals(30.0, 3.0)]
    assert first_warning(StreamMonitor("/camera", contract), messages, messages[-1][0]) is None


def test_a_clock_that_is_set_back_does_not_stop_the_watch() -> None:
    monitor = StreamMonitor("/joints", JOINTS)
    first_warning(monitor, [(ns, state(ns)) for ns in arrivals(1000.0, 1.0)], START_NS + 10**9)
    back = START_NS - 3600 * 10**9
    for ns in arrivals(1000.0, 2.0, back):
        monitor.add(ns, synthetic.joint_state(ns, {"a": 0.1}))
        if not ns % STEP_NS:
            monitor.step(ns)
    assert monitor.warning(back + 2 * 10**9) is None
    assert monitor.rate_hz() == pytest.approx(1000.0, rel=0.02)


def test_commands_that_begin_again_after_a_pause_are_not_slow() -> None:
    """Commands flow only while the arm is engaged."""
    again = START_NS + 4 * 10**9
    monitor = StreamMonitor("/command", StreamContract(rate_hz=100.0, max_age_s=0.25))
    messages = [(ns, state(ns)) for ns in arrivals(100.0, 1.0)]
    found = first_warning(monitor, messages, again)
    assert found is not None
    assert found[1].kind == "silent"
    for now_ns in range(again, again + 2 * 10**9, STEP_NS):
        for ns in range(now_ns - STEP_NS + 10**7, now_ns + 1, 10**7):
            if ns >= again:
                monitor.add(ns, state(ns))
        monitor.step(now_ns)
        assert now_ns == again or monitor.warning(now_ns) is None
