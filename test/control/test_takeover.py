"""Who drives: the deadman button, a person who intervenes, a robot that is brought back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rig import HOME, SIM, Rig, speed

from hpt_ros.control.commander import EngageRefused
from hpt_ros.control.state_machine import State, TransitionRefused
from hpt_ros.embodiment.schema import Deadman

BUTTON = Deadman("/joy", max_age_s=0.1)
WITH_BUTTON = replace(SIM, deadman=BUTTON)


def press(rig: Rig, ticks: int, pressed: bool = True) -> None:
    """A driver that repeats itself at every tick, and a policy."""
    for _ in range(ticks):
        rig.commander.on_deadman(pressed, rig.now)
        rig.run(HOME + 0.2, 1)


@pytest.fixture
def pressed() -> Rig:
    rig = Rig(robot=WITH_BUTTON)
    rig.commander.on_deadman(True, rig.now)
    rig.commander.engage(rig.now)
    press(rig, 80)
    assert rig.state is State.RUNNING
    assert speed(rig) > 0.1
    return rig


def test_without_the_button_nothing_engages() -> None:
    rig = Rig(robot=WITH_BUTTON)
    for wish in (rig.commander.engage, rig.commander.home):
        with pytest.raises(EngageRefused, match="nothing received on /joy"):
            wish(rig.now)
    rig.commander.on_deadman(False, rig.now)
    with pytest.raises(EngageRefused, match="released"):
        rig.commander.engage(rig.now)
    assert rig.state is State.IDLE


@pytest.mark.parametrize("let_go", ["released", "silent"])
def test_a_button_let_go_of_stops_the_arm_until_a_person_resumes(pressed: Rig, let_go: str) -> None:
    if let_go == "released":
        pressed.commander.on_deadman(False, pressed.now)
        assert pressed.state is State.HOLDING, "at once"
    else:
        pressed.run(HOME + 0.2, 10)
        assert pressed.state is State.RUNNING
        pressed.run(HOME + 0.2, 1)
    assert pressed.state is State.HOLDING
    assert pressed.commander.reason.startswith(f"deadman: {let_go}")
    pressed.run(HOME + 0.2, 60)
    assert speed(pressed) == 0
    with pytest.raises(EngageRefused, match="deadman"):
        pressed.commander.resume(pressed.now)
    press(pressed, 30)
    assert pressed.state is State.HOLDING, "pressing it is not a wish to go on"
    pressed.commander.resume(pressed.now)
    press(pressed, 30)
    assert pressed.state is State.RUNNING


def test_a_short_release_between_two_ticks_counts(pressed: Rig) -> None:
    pressed.commander.on_deadman(False, pressed.now)
    press(pressed, 20)
    assert pressed.state is State.HOLDING


def test_a_release_ends_the_grace_of_a_hold_that_would_end_by_itself(pressed: Rig) -> None:
    for _ in range(40):
        pressed.commander.on_deadman(True, pressed.now)
        pressed.tick()
    assert pressed.state is State.HOLDING
    pressed.commander.on_deadman(False, pressed.now)
    press(pressed, 20)
    assert pressed.state is State.HOLDING


def test_a_release_on_the_way_home_ends_it() -> None:
    rig = Rig(HOME + 0.2, WITH_BUTTON)
    rig.commander.on_deadman(True, rig.now)
    rig.commander.home(rig.now)
    press(rig, 60)
    assert rig.state is State.HOMING
    rig.commander.on_deadman(False, rig.now)
    assert rig.state is State.IDLE
    rig.move(500)
    assert speed(rig) == 0


def test_a_person_who_takes_the_arm_from_a_policy_intervenes() -> None:
    rig = Rig()
    rig.engage()
    rig.run(HOME + 0.1, 30)
    assert not rig.outputs[-1].label.intervention
    rig.chunk(HOME + 0.1, "teleop:joy")
    label = rig.tick().label
    assert (label.source, label.intervention) == ("teleop:joy", True)
    rig.tick(60)
    assert not rig.outputs[-1].label.intervention, "a hold is nobody's"


def test_a_person_who_keeps_the_arm_from_a_policy_intervenes_too() -> None:
    rig = Rig()
    rig.engage()
    rig.run(HOME + 0.1, 15, "teleop:joy")
    assert not rig.outputs[-1].label.intervention, "nobody else is there"
    rig.chunk(HOME + 0.1)
    rig.run(HOME + 0.1, 5, "teleop:joy")
    assert rig.outputs[-1].label.intervention
    rig.commander.disengage()
    rig.tick(60)
    rig.engage()
    rig.run(HOME + 0.1, 15, "teleop:joy")
    assert not rig.outputs[-1].label.intervention, "forgotten with the engagement"


def test_the_robot_is_recovered_only_while_nobody_commands_it_and_the_fault_stays() -> None:
    rig = Rig()
    rig.commander.fault("joint_reflex")
    rig.commander.recover_errors()
    assert (rig.state, rig.commander.reason) == (State.FAULT, "joint_reflex (recovering)")
    rig.commander.recovered("recovered: controllers active")
    assert (rig.state, rig.commander.reason) == (State.FAULT, "joint_reflex (recovered: controllers active)")
    rig.commander.reset()
    rig.commander.recover_errors()
    rig.engage()
    rig.commander.recovered("late")
    assert rig.commander.reason == "waiting for the first chunk", "a late outcome does not hide what goes on"
    with pytest.raises(TransitionRefused, match="recover_errors is refused in ENGAGING"):
        rig.commander.recover_errors()


def test_ages_of_what_is_measured() -> None:
    rig = Rig()
    assert rig.commander.joints_age_ms(rig.now) == 0
    assert rig.commander.robot_state_age_ms(rig.now) == -1
    rig.joints_alive = False
    rig.move(30)
    assert rig.commander.joints_age_ms(rig.now) == pytest.approx(30)
    assert np.isfinite(rig.commander.largest_seam_rad)


@pytest.mark.parametrize("pause", ["hold", "disengage", "fault"])
def test_a_chunk_of_before_a_pause_moves_nothing_after_it(pause: str) -> None:
    rig = Rig()
    rig.engage()
    rig.run(HOME + 0.1, 30)
    before_ms = 0
    if pause == "hold":
        rig.commander.hold()
        rig.tick(5)
        rig.commander.resume(rig.now)
    else:
        rig.commander.disengage() if pause == "disengage" else rig.commander.fault("because")
        if pause == "fault":
            rig.commander.reset()
        rig.tick(60)
        rig.commander.engage(rig.now)
        before_ms = 220
        rig.tick(22)
    rig.tick(2)
    assert not rig.chunk(HOME + 0.1, age_ms=before_ms + 21), "observed 1 ms before"
    assert rig.commander.rejections["before_engage"] == 1
    assert rig.state is State.ENGAGING
    assert rig.chunk(HOME + 0.1, age_ms=19)
    assert rig.state is State.RUNNING
