"""The alignment rule against a brute-force reading of its definition."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import MS, START_NS

from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, load_embodiment
from hpt_ros.errors import StreamError
from hpt_ros.streams import Observer, StaleStreamError, observer

ROBOT = synthetic.embodiment(observation_horizon=3)
PERIOD_NS = ROBOT.policy.period_ns


def joints_only(horizon: int) -> Embodiment:
    data = embodiment_to(load_embodiment("sim_panda"))
    data |= {"gripper": None, "cameras": []}
    data["policy"]["observation_horizon"] = horizon
    data["command"] |= {"gripper_backend": "none"}
    return embodiment_from(data)


def joints(robot: Embodiment, stamp_ns: int, value: float) -> bytes:
    return synthetic.joint_state(stamp_ns, dict.fromkeys(robot.joints.names, value))


def fill(seconds: float = 1.0) -> Observer:
    full = Observer(ROBOT)
    for key, _, raw in synthetic.messages(ROBOT, seconds):
        if key != "command":
            full.push(key, raw)
    return full


@settings(max_examples=200, deadline=None)
@given(
    stamps_ms=st.lists(st.integers(0, 600), max_size=60, unique=True),
    tick_ms=st.integers(0, 700),
    horizon=st.integers(1, 4),
)
def test_every_sample_is_the_newest_that_had_time_to_arrive(stamps_ms, tick_ms, horizon) -> None:
    robot = joints_only(horizon)
    spec = robot.streams()[0]
    live = Observer(robot)
    for number, ms in enumerate(stamps_ms):
        live.push("joints", joints(robot, START_NS + ms * MS, float(number)))
    expected = []
    for k in reversed(range(horizon)):
        moment = tick_ms * MS - k * robot.policy.period_ns
        arrived = [ms for ms in stamps_ms if ms * MS <= moment - spec.allowance_ns]
        if arrived and moment - max(arrived) * MS <= spec.max_age_ns:
            expected.append(float(stamps_ms.index(max(arrived))))
    if len(expected) < horizon:
        with pytest.raises(StaleStreamError, match="joints"):
            live.observe(START_NS + tick_ms * MS)
    else:
        state = live.observe(START_NS + tick_ms * MS).state
        np.testing.assert_array_equal(state, np.array(expected, np.float32)[:, None].repeat(7, axis=1))


def test_observation_has_the_promised_shapes() -> None:
    tick_ns = START_NS + 900 * MS
    observation = fill().observe(tick_ns)
    assert observation.tick_ns == tick_ns
    assert (observation.state.shape, observation.state.dtype) == ((3, 8), np.float32)
    np.testing.assert_allclose(observation.state[:, 7], 0.03, rtol=1e-6)
    assert {name: frames.shape for name, frames in observation.images.items()} == {
        "front": (3, 16, 16, 3),
        "wrist": (3, 16, 16, 3),
    }
    assert observation.ages_ns.keys() == {"joints", "gripper", "camera.front", "camera.wrist"}
    assert 10 * MS <= observation.ages_ns["joints"] <= 15 * MS


def test_each_frame_is_decoded_once(monkeypatch) -> None:
    decoded = []
    real = observer.camera_frame
    monkeypatch.setattr(observer, "camera_frame", lambda raw, camera: decoded.append(raw) or real(raw, camera))
    full = fill()
    for k in range(6):
        full.observe(START_NS + 500 * MS + k * PERIOD_NS)
    assert len(decoded) == len(set(decoded)) == 2 * (6 + 2)


def test_silent_streams_are_named() -> None:
    robot = joints_only(1)
    live = Observer(robot)
    assert live.never_delivered == ["joints"]
    with pytest.raises(StaleStreamError, match="nothing received on /franka/joint_states") as caught:
        live.observe(START_NS)
    assert caught.value.stream == "joints"
    live.push("joints", joints(robot, START_NS, 0.0))
    assert live.never_delivered == []
    budget_ms = round(robot.joints.timing.max_age_s * 1e3)
    live.observe(START_NS + budget_ms * MS)
    with pytest.raises(StaleStreamError, match=f"{budget_ms + 1} ms old, at most {budget_ms} ms"):
        live.observe(START_NS + (budget_ms + 1) * MS)
    with pytest.raises(StaleStreamError, match="no sample yet"):
        live.observe(START_NS + 9 * MS)


def test_late_samples_are_counted() -> None:
    robot = joints_only(1)
    live = Observer(robot)
    live.push("joints", joints(robot, START_NS, 0.0))
    live.observe(START_NS + 20 * MS)  # uses stamps up to 10 ms
    for ms, late in ((11, 0), (0, 0), (10, 1), (5, 2), (30, 2)):
        live.push("joints", joints(robot, START_NS + ms * MS, 0.0))
        assert live.late_samples == {"joints": late}, f"after {ms} ms"


def test_stream_recovers_when_its_clock_jumps_back() -> None:
    robot = joints_only(1)
    live = Observer(robot)
    live.push("joints", joints(robot, START_NS + 10**12, 0.0))
    live.push("joints", joints(robot, START_NS, 1.0))
    with pytest.raises(StaleStreamError, match=r"1000\.0 s ahead"):
        live.observe(START_NS + 20 * MS)
    live.push("joints", joints(robot, START_NS + 15 * MS, 2.0))
    assert live.observe(START_NS + 30 * MS).state[0, 0] == 2.0


def test_message_without_a_stamp_is_told_in_the_reason() -> None:
    live = Observer(joints_only(1))
    live.push("joints", synthetic.joint_state(0, {"a": 0.0}))
    with pytest.raises(StaleStreamError, match="header stamp 0 s 0 ns is not a time"):
        live.observe(START_NS)


def test_bad_values_name_the_stream() -> None:
    robot = joints_only(1)
    live = Observer(robot)
    live.push("joints", joints(robot, START_NS, float("nan")))
    with pytest.raises(StreamError, match=r"stream joints \(/franka/joint_states\): position is not finite"):
        live.observe(START_NS + 20 * MS)


def test_a_stamp_from_the_future_is_no_sample_and_told() -> None:
    robot = joints_only(1)
    live = Observer(robot)
    live.push("joints", joints(robot, START_NS, 0.0), START_NS)
    live.push("joints", joints(robot, START_NS + 49 * MS, 1.0), START_NS)  # clocks differ a little
    live.push("joints", joints(robot, START_NS + 500 * MS, 2.0), START_NS)
    assert live.observe(START_NS + 60 * MS).state[0, 0] == 1.0
    with pytest.raises(StaleStreamError, match="its stamp is 500 ms ahead of the clock"):
        live.observe(START_NS + 600 * MS)
    live.push("joints", joints(robot, START_NS + 500 * MS, 3.0), START_NS + 500 * MS)
    assert live.observe(START_NS + 510 * MS).state[0, 0] == 3.0
    with pytest.raises(StaleStreamError, match=r"200 ms allowed\n"):
        live.observe(START_NS + 900 * MS)


def test_a_payload_that_never_changes_is_frozen_however_new_its_stamps_are() -> None:
    robot = joints_only(1)
    timing = replace(robot.joints.timing, frozen_after_s=0.3)
    robot = replace(robot, joints=replace(robot.joints, timing=timing))
    live = Observer(robot)
    for ms in range(-100, 300, 10):
        live.push("joints", joints(robot, START_NS + ms * MS, min(float(ms), 0.0)))
    live.observe(START_NS + 300 * MS)
    for ms in (310, 300):  # the order of arrival does not count
        live.push("joints", joints(robot, START_NS + ms * MS, 0.0))
    with pytest.raises(StaleStreamError, match="frozen: nothing has changed for 300 ms") as caught:
        live.observe(START_NS + 310 * MS)
    assert caught.value.stream == "joints"
    live.push("joints", joints(robot, START_NS + 320 * MS, 1.0))
    live.observe(START_NS + 330 * MS)


def test_one_thread_may_push_while_another_observes() -> None:
    robot = joints_only(2)
    live = Observer(robot)
    enough = threading.Event()
    now_ms = 0

    def push() -> None:
        nonlocal now_ms
        ms = 0
        while not enough.is_set():  # pushing lasts as long as observing does, however the threads are scheduled
            live.push("joints", joints(robot, START_NS + ms * MS, float(ms)))
            now_ms = ms
            ms += 1

    pusher = threading.Thread(target=push, daemon=True)
    pusher.start()
    seen = 0
    try:
        while seen < 50:
            tick_ms = now_ms
            if tick_ms > 100:
                state = live.observe(START_NS + tick_ms * MS).state
                assert state[1, 0] == tick_ms - 10
                seen += 1
    finally:
        enough.set()
    pusher.join(timeout=10)
    assert not pusher.is_alive()
