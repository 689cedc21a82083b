"""What the policy says of its own eyes, and what the reason of a stop then names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rig import HOME, MS, SIM, Rig, speed
from test_commander import TICK, WELL

from hpt_ros.control.state_machine import State
from hpt_ros.embodiment.schema import RobotState

BLIND = "stream camera.front: newest sample is 260 ms old"


@pytest.fixture
def driven() -> Rig:
    """By the policy."""
    rig = Rig()
    rig.engage()
    rig.run(HOME + 0.4, 30)
    assert rig.state is State.RUNNING
    assert speed(rig) > 0.1
    return rig


def test_a_blind_policy_is_a_hold_in_the_next_tick_and_the_stream_is_named(driven: Rig) -> None:
    driven.commander.on_blind_policy(driven.now, BLIND, driven.now)
    assert driven.tick().label.source == "hold"
    assert driven.state is State.HOLDING
    assert driven.commander.reason == f"policy: {BLIND}"
    driven.tick(60)
    assert speed(driven) == 0


def test_it_goes_on_with_what_was_seen_after_that(driven: Rig) -> None:
    driven.commander.on_blind_policy(driven.now, BLIND, driven.now)
    driven.tick(3)
    assert not driven.chunk(HOME + 0.4, age_ms=40), "on its way before the policy went blind"
    assert driven.state is State.HOLDING
    assert driven.chunk(HOME + 0.4, age_ms=10)
    assert driven.state is State.RUNNING
    driven.commander.on_blind_policy(driven.now - 20 * MS, BLIND, driven.now)
    assert driven.state is State.RUNNING, "an old report that arrives late"


def test_a_clock_that_is_ahead_does_not_keep_the_policy_out(driven: Rig) -> None:
    driven.commander.on_blind_policy(driven.now + 10**12, BLIND, driven.now)
    driven.tick(5)
    assert driven.chunk(HOME + 0.4, age_ms=20)


@pytest.mark.parametrize("state", [State.IDLE, State.ENGAGING])
def test_it_is_of_no_concern_before_the_policy_drives(state: State) -> None:
    rig = Rig()
    if state is State.ENGAGING:
        rig.engage()
    rig.commander.on_blind_policy(rig.now, BLIND, rig.now)
    rig.tick()
    assert rig.state is state


def test_a_person_who_drives_does_not_need_the_policys_eyes(driven: Rig) -> None:
    driven.run(HOME + 0.4, 10, "teleop:pad")
    driven.commander.on_blind_policy(driven.now, BLIND, driven.now)
    driven.tick()
    assert driven.state is State.RUNNING


def test_a_slow_policy_is_told_from_a_silent_one(driven: Rig) -> None:
    for i in range(45):
        if i % 7 == 0:
            driven.chunk(HOME + 0.4, age_ms=400)
        driven.tick()
    assert driven.state is State.HOLDING
    assert "(the last one was refused: old: the observation is 400 ms old" in driven.commander.reason


def test_a_robot_state_from_the_future_is_none(driven: Rig) -> None:
    driven.commander._embodiment = replace(SIM, robot_state=RobotState("/state", "franka_msgs/msg/FrankaState"))
    driven.commander.on_robot_state(WELL, driven.now, driven.now)
    for _ in range(25):
        driven.commander.on_robot_state(WELL, driven.now, driven.now + 10**9)
        driven.run(HOME + 0.4, 1)
    assert driven.state is State.HOLDING
    assert "robot state: silent for" in driven.commander.reason


def test_a_robot_state_that_is_sent_again_and_again_is_as_old_as_its_stamp(driven: Rig) -> None:
    driven.commander._embodiment = replace(SIM, robot_state=RobotState("/state", "franka_msgs/msg/FrankaState"))
    stamp_ns, holding = driven.now, -1
    for i in range(40):
        driven.commander.on_robot_state(WELL, driven.now, stamp_ns)
        driven.run(HOME + 0.4, 1)
        if driven.state is State.HOLDING and holding < 0:
            holding = i
    assert holding * TICK == pytest.approx(200 * MS, abs=2 * TICK)
    assert "robot state: silent for" in driven.commander.reason
    driven.tick(30)
    assert speed(driven) == 0
