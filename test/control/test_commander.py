"""The safety kernel against a stand-in of the robot's side: states, reasons, and what the arm is made to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import HOME, MS, SIM, Array, H, Rig, speed

from hpt_ros.control import commander as module
from hpt_ros.control.commander import Commander, EngageRefused, TickOutput
from hpt_ros.control.limiter import UnsafeRequestError
from hpt_ros.control.robot_health import RobotHealth
from hpt_ros.control.state_machine import State, TransitionRefused
from hpt_ros.embodiment.schema import RobotState

BUDGET_MS = round(SIM.joints.timing.max_age_s * 1e3)
TOO_LONG = BUDGET_MS // 10 + 2  # ticks of silence
TICK = 10 * MS


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def running(rig: Rig) -> Rig:
    rig.engage()
    rig.run(HOME + 0.2, 30)
    assert rig.state is State.RUNNING
    return rig


def test_idle_sends_nothing(rig: Rig) -> None:
    rig.chunk(HOME)
    assert rig.tick(5) == TickOutput()
    assert rig.commander.chunks_accepted == 0


def test_from_engage_to_the_target(rig: Rig) -> None:
    rig.commander.engage(rig.now)
    assert rig.state is State.ENGAGING
    rig.tick(60)
    np.testing.assert_allclose(rig.arm.sample(rig.now)[0], HOME, atol=1e-9)
    assert rig.outputs[-1].label.source == "hold"
    rig.run(HOME + 0.2, 200)
    assert rig.state is State.RUNNING
    assert rig.outputs[-1].label.source == "policy"
    np.testing.assert_allclose(rig.arm.sample(rig.now)[0], HOME + 0.2, atol=1e-6)


def test_engaging_eases_the_controller_over_to_the_measured_pose(rig: Rig) -> None:
    """The controller's desired pose and the measured one differ, by the sag under gravity: no step between them."""
    rig.joints_alive = False
    rig.commander.on_joints(rig.now, HOME + 0.01, np.zeros(7), rig.now)
    rig.commander.engage(rig.now)
    for _ in range(60):
        rig.commander.on_joints(rig.now, HOME + 0.01, np.zeros(7), rig.now)
        rig.tick()
    np.testing.assert_allclose(rig.arm.sample(rig.now)[0], HOME + 0.01, atol=1e-9)
    assert max(np.abs(dq).max() for _, dq in rig.path) < 0.08


def test_the_label_is_where_the_arm_is_when_it_is_in_force(running: Rig) -> None:
    label = running.outputs[-1].label
    running.chunk(HOME + 0.2)
    running.tick(1)
    running.move((label.in_force_ns - running.now) // MS)
    np.testing.assert_allclose(running.arm.sample(label.in_force_ns)[0], label.position[:7], atol=1e-6)
    assert label.position[7] == 0.08


def test_a_silent_policy_brings_the_arm_to_a_hold(running: Rig) -> None:
    assert speed(running) > 0.05
    running.tick(32)
    assert running.state is State.HOLDING
    assert running.commander.reason.startswith("policy: no good chunk for 3")
    running.tick(40)
    assert speed(running) == 0
    assert running.outputs[-1].label.source == "hold"


def test_used_up_rows_bring_the_arm_to_a_hold(rig: Rig) -> None:
    rig.engage()
    rig.offer(np.tile([*HOME, 0.08], (1, 1)), "teleop:pad", age_ms=0)
    rig.tick(10)
    assert rig.state is State.HOLDING
    assert "last row" in rig.commander.reason


def test_fresh_chunks_end_a_short_hold_but_not_a_long_one(running: Rig) -> None:
    running.tick(32 + 100)
    assert running.state is State.HOLDING
    assert running.chunk(HOME + 0.2)
    assert running.state is State.RUNNING
    running.tick(32 + 250)
    assert not running.chunk(HOME + 0.2)
    assert running.state is State.HOLDING
    running.commander.resume(running.now)
    running.tick(10)
    assert running.chunk(HOME + 0.2)
    assert running.state is State.RUNNING


def test_a_persons_hold_is_ended_by_a_person(running: Rig) -> None:
    running.commander.hold()
    running.tick(50)
    assert speed(running) == 0
    assert not running.chunk(HOME + 0.2)
    assert running.state is State.HOLDING
    assert running.commander.reason == "held by a person"


def test_a_persons_hold_overrides_a_short_one(running: Rig) -> None:
    running.tick(32)
    running.commander.hold()
    assert not running.chunk(HOME + 0.2)


def test_silent_joints_bring_the_arm_to_a_hold_that_names_them(running: Rig) -> None:
    running.joints_alive = False
    running.run(HOME + 0.2, TOO_LONG)
    assert running.state is State.HOLDING
    assert running.commander.reason.startswith(f"joints: the newest sample is {BUDGET_MS + 10} ms old")
    assert not running.chunk(HOME + 0.2)
    with pytest.raises(EngageRefused, match="joints"):
        running.commander.resume(running.now)
    running.joints_alive = True
    running.send_joints()
    assert running.chunk(HOME + 0.2)
    assert running.state is State.RUNNING


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_joints_that_are_not_finite_count_as_silent(running: Rig, bad: float) -> None:
    running.joints_alive = False
    for _ in range(TOO_LONG):
        running.commander.on_joints(running.now, np.full(7, bad), np.zeros(7), running.now)
        running.tick()
    assert running.state is State.HOLDING
    assert running.commander.reason.startswith("joints")


def test_the_start_guard_refuses_and_names_the_joint(rig: Rig) -> None:
    rig.engage()
    far = HOME.copy()
    far[2] += 0.7
    assert not rig.chunk(far)
    assert rig.state is State.IDLE
    assert rig.commander.reason == "refused: panda_joint3 is 0.70 rad from the first target, allowed: 0.5 rad"
    assert rig.tick() == TickOutput()


def test_bad_chunks_are_counted_and_starve_the_arm(running: Rig) -> None:
    accepted = running.commander.chunks_accepted
    for _ in range(32):
        assert not running.chunk(np.full(7, np.nan))
        running.tick()
    assert running.commander.rejections["not_finite"] == 32
    assert running.commander.last_rejection.startswith("not_finite: 112 values")
    assert running.commander.chunks_accepted == accepted
    assert running.state is State.HOLDING


def test_a_chunk_from_before_the_engagement_is_refused(rig: Rig) -> None:
    rig.engage()
    assert not rig.chunk(HOME, age_ms=600)
    assert rig.commander.rejections["before_engage"] == 1
    assert rig.state is State.ENGAGING


def test_a_person_takes_over_at_once_and_the_policy_waits(running: Rig) -> None:
    assert running.chunk(HOME, "teleop:pad")
    assert running.tick().label.source == "teleop:pad"
    assert not running.chunk(HOME + 0.2)
    running.tick(31)
    assert running.chunk(HOME + 0.2)
    running.tick()
    assert running.commander.source == "policy"


def test_nobody_sends_chunks(rig: Rig) -> None:
    rig.commander.engage(rig.now)
    rig.tick(round(module.ENGAGE_TIMEOUT_S * 100) + 2)
    assert rig.state is State.IDLE
    assert "30 s" in rig.commander.reason


def test_an_arm_that_does_not_follow_is_a_fault_until_reset(running: Rig) -> None:
    running.arm.reset(HOME + np.array([0, 0, 0, 0, 0, 0, 1.2]))
    running.send_joints()
    assert running.tick() == TickOutput()
    assert running.state is State.FAULT
    assert "panda_joint7" in running.commander.reason
    with pytest.raises(TransitionRefused):
        running.commander.engage(running.now)
    running.commander.reset()
    running.tick()
    running.commander.engage(running.now)


def test_a_clock_that_goes_back_is_a_fault(running: Rig) -> None:
    running.now -= 200 * MS
    running.tick()
    assert running.state is State.FAULT
    assert "clock" in running.commander.reason


def test_leaving_at_speed_the_arm_stops_by_its_last_message(running: Rig) -> None:
    assert speed(running) > 0.05
    running.commander.disengage()
    assert running.tick() == TickOutput()
    running.move(400)
    assert speed(running) == 0


def test_engage_refusals(rig: Rig) -> None:
    def measured(q: list[float] | Array, dq: list[float] | None = None, ahead_ms: int = 0) -> None:
        velocity = None if dq is None else np.array(dq)
        rig.commander.on_joints(rig.now + ahead_ms * MS, np.array(q), velocity, rig.now)

    measured(HOME, [0, 0.3, 0, 0, 0, 0, 0])
    with pytest.raises(EngageRefused, match=r"panda_joint2 moves at 0\.30"):
        rig.commander.engage(rig.now)
    measured([*HOME[:5], -0.017, 0])
    with pytest.raises(UnsafeRequestError, match="panda_joint6"):
        rig.commander.engage(rig.now)
    measured(HOME)
    with pytest.raises(EngageRefused, match=f"{BUDGET_MS + 50} ms old"):
        rig.commander.engage(rig.now + (BUDGET_MS + 50) * MS)
    measured(HOME, ahead_ms=20)
    with pytest.raises(EngageRefused, match="20 ms ahead of the clock"):
        rig.commander.engage(rig.now)
    fresh = Commander(SIM)
    with pytest.raises(EngageRefused, match="/franka/joint_states"):
        fresh.engage(rig.now)
    fresh.on_joints(rig.now, HOME, None, rig.now)
    with pytest.raises(EngageRefused, match="gripper"):
        fresh.engage(rig.now)
    assert rig.state is fresh.state is State.IDLE


def test_the_gripper_is_commanded_on_edges(running: Rig) -> None:
    for i in range(60):
        if i % 7 == 0:
            running.chunk(HOME + 0.2, gripper=0.01)
        running.tick()
    widths = [output.gripper_m for output in running.outputs if output.gripper_m is not None]
    assert widths == [0.0]
    assert running.outputs[-1].label.position[7] == 0.0


def assert_smooth(rig: Rig) -> None:
    """What the arm's side interpolated, at 1 kHz: no jump, inside the limits but for what a cubic adds where the jerk is short."""
    limiter = rig.commander._horizon.limiter
    q, dq = (np.array(values) for values in zip(*rig.path, strict=True))
    assert (np.abs(np.diff(q, axis=0)) <= 1.1 * limiter.velocity * 1e-3 + 1e-9).all()
    assert (np.abs(dq) <= 1.1 * limiter.velocity).all()
    assert (np.abs(np.diff(dq, axis=0)) <= 1.6 * limiter.acceleration * 1e-3 + 1e-9).all()
    assert (q >= limiter.low - 0.002).all()
    assert (q <= limiter.high + 0.002).all()


events = st.lists(
    st.one_of(
        st.tuples(st.just("chunk"), st.tuples(*[st.floats(-0.6, 0.6)] * 7), st.integers(0, 80)),
        st.tuples(st.just("wild"), st.tuples(*[st.floats(-5, 5)] * 7), st.integers(0, 80)),
        st.tuples(st.just("ticks"), st.integers(1, 12), st.integers(0, 9)),
        st.tuples(st.just("missed"), st.integers(1, 60), st.just(0)),
        st.tuples(st.just("hold"), st.just(0), st.just(0)),
        st.tuples(st.just("resume"), st.just(0), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


@given(events)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_the_arm_moves_smoothly(script: list) -> None:
    """Wild chunks, late ticks, missed ticks, holds: seen from the arm's own interpolation."""
    rig = Rig()
    rig.engage()
    rig.run(HOME, 8)
    for kind, value, extra in script:
        if kind in ("chunk", "wild"):
            rows = np.array([[*(HOME + (i + 1) / H * np.array(value)), 0.08] for i in range(H)])
            rig.offer(rows if kind == "chunk" else np.tile([*value, 0.0], (H, 1)), age_ms=extra)
        elif kind == "ticks":
            rig.tick(value, late_ms=extra)
        elif kind == "missed":
            rig.move(10 * value)
            rig.send_joints()
        elif kind == "hold" and rig.state is State.RUNNING:
            rig.commander.hold()
        elif kind == "resume" and rig.state is State.HOLDING:
            rig.commander.resume(rig.now)
    rig.move(500)
    assert_smooth(rig)
    assert speed(rig) == 0


# Home


def test_home_goes_there_slowly_and_lets_go() -> None:
    rig = Rig(HOME + np.array([0.3, -0.2, 0.1, 0.2, -0.3, 0.1, 0.5]))
    rig.commander.home(rig.now)
    assert rig.state is State.HOMING
    for _ in range(600):
        rig.tick()
        assert speed(rig) <= 0.33
        if rig.state is State.IDLE:
            break
    assert (rig.state, rig.commander.reason) == (State.IDLE, "at home")
    np.testing.assert_allclose(rig.arm.sample(rig.now)[0], HOME, atol=0.02)
    assert {output.label.source for output in rig.outputs if output.label} == {"home"}


def test_nobodys_chunk_is_followed_on_the_way_home() -> None:
    rig = Rig(HOME + 0.2)
    rig.commander.home(rig.now)
    rig.tick(40)
    assert not rig.chunk(HOME + 0.5)
    assert not rig.chunk(HOME + 0.5, "teleop:pad")
    assert rig.state is State.HOMING


@pytest.mark.parametrize("wish", ["hold", "disengage"])
def test_a_person_stops_the_way_home(wish: str) -> None:
    rig = Rig(HOME + 0.4)
    rig.commander.home(rig.now)
    rig.tick(80)
    assert speed(rig) > 0.05
    getattr(rig.commander, wish)()
    rig.tick(60)
    assert speed(rig) == 0
    assert np.abs(rig.arm.sample(rig.now)[0] - HOME).max() > 0.05


def test_joints_that_go_silent_end_the_way_home_for_good() -> None:
    rig = Rig(HOME + 0.4)
    rig.commander.home(rig.now)
    rig.tick(80)
    rig.joints_alive = False
    rig.tick(TOO_LONG + 60)
    assert rig.state is State.IDLE
    assert "joints" in rig.commander.reason
    rig.joints_alive = True
    rig.send_joints()
    rig.tick(5)
    assert not rig.chunk(HOME)
    assert rig.state is State.IDLE
    assert speed(rig) == 0


def test_home_that_cannot_be_reached_is_given_up() -> None:
    rig = Rig(HOME + 0.3)
    rig.commander.home(rig.now)
    rig.commander._homing._way = rig.commander._homing._way + 3.0  # far outside the limits
    for _ in range(5000):
        rig.tick()
        if rig.state is State.IDLE:
            break
    assert "home not reached" in rig.commander.reason


# The robot's own state

WELL = RobotHealth("MOVE", (), 0.99)


@pytest.fixture
def watched() -> Rig:
    """An arm that reports its state, and a policy that drives it."""
    rig = Rig()
    contract = RobotState("/franka_robot_state_broadcaster/robot_state", "franka_msgs/msg/FrankaRobotState")
    rig.commander._embodiment = replace(SIM, robot_state=contract)
    rig.commander.on_robot_state(WELL, rig.now)
    rig.commander.engage(rig.now)
    for _ in range(90):
        rig.commander.on_robot_state(WELL, rig.now)
        rig.run(HOME + 0.2, 1)
    assert rig.state is State.RUNNING
    return rig


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        (RobotHealth("REFLEX", (), 1.0), "mode REFLEX"),
        (RobotHealth("USER_STOPPED", (), 1.0), "mode USER_STOPPED"),
        (RobotHealth("MOVE", ("joint_reflex",), 1.0), "joint_reflex"),
        (RobotHealth("MOVE", (), 0.5), "50% of the robot's commands"),
        (RobotHealth("MOVE", (), float("nan")), "of the robot's commands"),
    ],
)
def test_a_robot_that_is_unwell_is_a_fault_with_its_name(watched: Rig, health: RobotHealth, reason: str) -> None:
    watched.commander.on_robot_state(health, watched.now)
    watched.tick()
    assert watched.state is State.FAULT
    assert reason in watched.commander.reason
    watched.commander.on_robot_state(WELL, watched.now)
    watched.tick()
    assert watched.state is State.FAULT, "a person resets it"


def test_a_robot_state_that_goes_silent_is_a_hold(watched: Rig) -> None:
    watched.run(HOME + 0.2, 25)
    assert watched.state is State.HOLDING
    assert "robot state: silent" in watched.commander.reason


def test_an_arm_that_says_nothing_of_itself_or_is_unwell_is_not_taken_over() -> None:
    rig = Rig()
    rig.commander._embodiment = replace(SIM, robot_state=RobotState("/state", "franka_msgs/msg/FrankaState"))
    with pytest.raises(EngageRefused, match="nothing received on /state"):
        rig.commander.engage(rig.now)
    rig.commander.on_robot_state(RobotHealth("GUIDING", (), 1.0), rig.now)
    with pytest.raises(EngageRefused, match="mode GUIDING"):
        rig.commander.engage(rig.now)
