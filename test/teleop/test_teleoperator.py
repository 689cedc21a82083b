"""Devices through the real commander on a simulated clock: clutch, silence, refusals, gripper, home, leader, pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bench import PANDA, Bench, place, push

from hpt_ros.control.kinematics import forward
from hpt_ros.control.rotation import matrix_of_vector
from hpt_ros.control.state_machine import State as Commanding
from hpt_ros.errors import ConfigError
from hpt_ros.teleop.config import load_device
from hpt_ros.teleop.state_machine import State

HOME = np.array(PANDA.home_rad)
SILENT = lambda bench: None  # noqa: E731


def free(device: str = "spacemouse", q: np.ndarray | None = None) -> Bench:
    """An engaged arm and a device at rest."""
    bench = Bench(device, q=q)
    bench.input = push()
    bench.engage()
    assert (bench.teleop.state, bench.commander.state) == (State.FREE, Commanding.RUNNING)
    return bench


def at_rest(bench: Bench) -> bool:
    return bool(np.abs(bench.dq).max() < 1e-3)


def speed_m_s(bench: Bench) -> np.ndarray:
    return np.linalg.norm(np.diff(np.array(bench.path), axis=0), axis=1) / 0.01


@pytest.mark.parametrize("axis", range(3))
def test_the_tool_moves_along_the_axis_that_is_pushed(axis: int) -> None:
    bench, direction = free(), np.eye(3)[axis]
    before = bench.tcp
    bench.input = push(*direction)
    bench.run(0.8)
    step = bench.tcp[:3, 3] - before[:3, 3]
    assert 0.05 < step @ direction < 0.2 * 0.8
    assert np.linalg.norm(step - (step @ direction) * direction) < 0.004
    np.testing.assert_allclose(bench.tcp[:3, :3], before[:3, :3], atol=0.01)
    assert speed_m_s(bench).max() < 0.21


def test_a_motion_begins_and_ends_smoothly_and_the_limiter_has_nothing_to_do() -> None:
    bench = free()
    altered = bench.commander.limited_ticks
    bench.input = push(1)
    bench.run(0.6)
    bench.input = push()
    bench.run(0.5)
    speeds = speed_m_s(bench)
    top = int(speeds.argmax())
    assert (np.diff(speeds[-100:top]) > -0.004).all() if top > len(speeds) - 100 else True
    assert (np.diff(speeds[top + 20 :]) < 0.004).all(), "no bump on the way to rest"
    assert bench.commander.limited_ticks - altered < 3
    assert bench.commander.rejections.total() == 0
    assert at_rest(bench)


def test_the_tool_frame_and_the_scale() -> None:
    tilted = HOME + np.array([0, 0, 0, 0, 0, -0.5, 0])
    bench = free(q=tilted)
    bench.teleop.settings = replace(bench.teleop.settings, frame="tool", scale=0.5)
    before = bench.tcp
    bench.input = push(0, 0, 1)
    bench.run(0.8)
    step = bench.tcp[:3, 3] - before[:3, 3]
    assert step @ before[:3, 2] == pytest.approx(np.linalg.norm(step), rel=0.01)
    assert 0.03 < np.linalg.norm(step) < 0.08
    assert speed_m_s(bench).max() < 0.11


def test_a_turn_keeps_the_tip_where_it_is() -> None:
    bench = free()
    before = bench.tcp
    bench.input = push(0, 0, 0, 0, 0, 1)
    bench.run(0.8)
    assert np.linalg.norm(bench.tcp[:3, 3] - before[:3, 3]) < 0.003
    turn = bench.tcp[:3, :3] @ before[:3, :3].T
    assert 0.2 < np.arctan2(turn[1, 0], turn[0, 0]) < 0.8


def test_silence_is_zero_motion_within_the_time_out_and_motion_needs_a_new_start() -> None:
    bench = free()
    bench.input = push(1)
    bench.run(0.8)
    bench.input = SILENT
    bench.run(0.15 + 0.06)
    assert bench.teleop.state is State.SILENT
    stop = bench.tcp[:3, 3]
    bench.run(0.6)
    assert np.linalg.norm(bench.tcp[:3, 3] - stop) < 0.04, "only the way to stop"
    assert at_rest(bench)
    assert bench.commander.state is Commanding.RUNNING, "the arm is held"
    rest = bench.tcp
    bench.input = push(1)
    bench.run(0.5)
    assert bench.teleop.state is State.SILENT
    np.testing.assert_allclose(bench.tcp, rest, atol=1e-6)
    bench.input = push()
    bench.run(0.1)
    bench.input = push(1)
    bench.run(0.5)
    assert bench.tcp[0, 3] > rest[0, 3] + 0.02


def test_a_refused_message_stops_until_the_person_lets_go() -> None:
    bench = free()
    bench.input = push(1)
    bench.run(0.4)
    bench.input = lambda b: b.teleop.refuse("motion", "3 values are not finite", b.now_s)
    bench.run(0.6)
    assert (bench.teleop.state, bench.teleop.reason) == (State.REFUSED, "3 values are not finite")
    assert at_rest(bench)
    bench.input = push(1)
    bench.run(0.2)
    assert bench.teleop.state is State.REFUSED
    bench.input = push()
    bench.run(0.1)
    assert bench.teleop.state is State.FREE


def test_a_stick_that_is_held_while_the_arm_is_engaged_moves_nothing() -> None:
    bench = Bench("spacemouse")
    bench.input = push()
    bench.run(0.2)
    bench.input = push(1)
    bench.run(0.1)
    assert bench.teleop.state is State.WAITING
    assert "the commander is IDLE" in bench.teleop.reason
    bench.engage()
    bench.run(0.5)
    np.testing.assert_allclose(bench.q, HOME, atol=1e-9)
    bench.input = push()
    bench.run(0.1)
    bench.input = push(1)
    bench.run(0.5)
    assert bench.tcp[0, 3] > forward(HOME)[0, 3] + 0.02


def test_a_hold_by_a_person_ends_the_motion_for_good() -> None:
    bench = free()
    bench.input = push(1)
    bench.run(0.4)
    bench.commander.hold()
    bench.run(0.6)
    assert (bench.commander.state, bench.teleop.state) == (Commanding.HOLDING, State.WAITING)
    held = bench.q
    bench.commander.resume(bench.now_ns)
    bench.run(0.6)
    assert bench.commander.state is Commanding.RUNNING
    np.testing.assert_allclose(bench.q, held, atol=1e-6)


def test_without_a_device_nothing_is_sent() -> None:
    bench = Bench("spacemouse")
    bench.engage()
    bench.run(0.5)
    assert not bench.chunks
    assert bench.teleop.reason == "nothing received on /spacenav/twist"


def test_yield_leaves_the_arm_to_the_policy_while_the_stick_rests() -> None:
    bench = Bench(replace(load_device("spacemouse"), when_free="yield"))
    bench.input = push()
    bench.engage()
    assert not bench.chunks
    bench.input = push(1)
    bench.run(0.6)
    assert bench.commander.source == "teleop:spacemouse"
    assert bench.tcp[0, 3] > forward(HOME)[0, 3] + 0.02
    bench.input = push()
    bench.run(0.5)
    sent = len(bench.chunks)
    bench.run(0.3)
    assert len(bench.chunks) == sent


def test_the_deadman_stops_and_starts() -> None:
    bench = free("joy")
    bench.input = push(1)
    bench.run(0.4)
    np.testing.assert_allclose(bench.q, HOME, atol=1e-9)
    bench.input = push(1, held=("deadman",))
    bench.run(0.4)
    assert bench.teleop.state is State.ACTIVE
    moved = bench.tcp[0, 3]
    assert moved > forward(HOME)[0, 3] + 0.02
    bench.input = push(1)
    bench.run(0.5)
    assert (bench.teleop.state, at_rest(bench)) == (State.FREE, True)
    assert bench.tcp[0, 3] < moved + 0.06


def test_a_silent_deadman_is_an_open_one() -> None:
    bench = free("joy")
    bench.input = push(1, held=("deadman",))
    bench.run(0.3)
    bench.input = lambda b: b.teleop.on_motion(np.eye(6)[0], b.now_s)
    bench.run(0.8)
    assert (bench.teleop.state, at_rest(bench)) == (State.SILENT, True)


def test_the_gripper_toggles_once_per_press() -> None:
    bench = free()
    bench.input = push(held=("gripper",))
    bench.run(0.3)
    assert (bench.width_m, bench.teleop.gripper_closed) == (0.0, True)
    bench.run(0.5)
    assert bench.width_m == 0.0
    bench.input = push()
    bench.run(0.1)
    bench.input = push(1, held=("gripper",))
    bench.run(0.5)
    assert (bench.width_m, bench.teleop.gripper_closed) == (0.08, False)


def test_a_press_while_silent_does_nothing() -> None:
    bench = Bench("spacemouse")
    bench.input = push(held=("gripper",))  # held from the first message on
    bench.engage()
    assert bench.width_m == 0.08


def test_buttons_change_frame_and_scale() -> None:
    bench = free("joy")
    for action in ("frame", "slower", "slower"):
        bench.input = push(held=(action,))
        bench.run(0.1)
        bench.input = push()
        bench.run(0.1)
    assert bench.teleop.settings.frame == "tool"
    assert bench.teleop.settings.scale == pytest.approx(1 / 2.25)


def go_home(bench: Bench) -> None:
    bench.input = push(held=("home",))
    bench.run(0.06)
    bench.input = push()
    bench.run(0.5)
    assert (bench.teleop.state, bench.teleop.reason) == (State.ACTIVE, "returning home")


def test_home_is_reached_slowly_and_then_free() -> None:
    bench = free(q=HOME + np.array([0.5, 0.2, -0.3, 0.3, 0.2, -0.2, 0.4]))
    go_home(bench)
    bench.run(4.0)
    np.testing.assert_allclose(bench.q, HOME, atol=0.01)
    assert bench.teleop.state is State.FREE
    limit = 0.5 * 0.4 * 2.175
    assert np.abs(np.array(bench.speeds))[:, 0].max() <= limit


@pytest.mark.parametrize("interrupt", [push(0, 0.5), push(held=("gripper",)), SILENT])
def test_any_input_or_none_interrupts_the_way_home(interrupt) -> None:
    bench = free(q=HOME + np.array([0.8, 0, 0, 0, 0, 0, 0]))
    go_home(bench)
    bench.input = interrupt
    bench.run(0.4)
    bench.input = push()
    bench.run(3.0)
    assert bench.teleop.state is State.FREE
    assert np.abs(bench.q - HOME).max() > 0.3


def test_targets_do_not_run_away_from_an_arm_that_is_stuck() -> None:
    bench = free()
    bench.blocked = True
    bench.input = push(0, 1)
    bench.run(1.5)
    assert bench.teleop.limited_by == ("arm lags behind",)
    assert np.abs(bench.chunks[-1].rows[:, :7] - bench.q).max() < 0.25
    assert bench.commander.state is Commanding.RUNNING, "below the commander's own bound"


def test_a_leader_far_away_is_refused_and_followed_softly_when_near() -> None:
    bench = Bench("leader")
    far = HOME + np.array([0, 0, 0, 0.6, 0, 0, 0])
    bench.input = place(far)
    bench.run(0.2)
    assert bench.teleop.state is State.REFUSED
    assert "panda_joint4: the leader is at -1.76 rad, the arm at -2.36 rad, allowed between them: 0.4" in (
        bench.teleop.reason
    )
    near = HOME + np.array([0, 0, 0, 0.35, 0, 0, 0])
    bench.input = place(near)
    bench.engage()
    assert bench.teleop.state is State.ACTIVE
    begun = len(bench.speeds)
    bench.run(3.0)
    speeds = np.abs(np.array(bench.speeds))[:, 3]
    np.testing.assert_allclose(bench.q, near, atol=0.005)
    assert speeds[:begun].max() < 0.25, "the ramp has hardly begun"
    bench.input = place(near + 1.5)
    bench.run(0.5)
    assert bench.teleop.state is State.REFUSED
    assert at_rest(bench)


def test_a_leader_that_returns_after_a_silence_starts_softly_again() -> None:
    bench = Bench("leader")
    bench.input = place(HOME)
    bench.engage()
    bench.run(3.0)
    bench.input = SILENT
    bench.run(0.5)
    assert bench.teleop.state is State.SILENT
    bench.input = place(HOME + np.array([0.35, 0, 0, 0, 0, 0, 0]))
    bench.run(0.3)
    assert np.abs(np.array(bench.speeds))[-30:, 0].max() < 0.3
    bench.run(3.0)
    assert bench.q[0] == pytest.approx(0.35, abs=0.005)


def hand(x: float, y: float, z: float, turn: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3], pose[:3, :3] = (x, y, z), matrix_of_vector(np.array(turn, dtype=float))
    return pose


def clutched(frame: str = "base") -> Bench:
    bench = Bench(replace(load_device("pose"), frame=frame))
    bench.input = place(hand(3, 2, 1))
    bench.engage()
    bench.input = place(hand(3, 2, 1), "deadman")
    bench.run(0.1)
    assert bench.teleop.state is State.ACTIVE
    return bench


def test_the_tool_follows_the_hand_from_where_the_clutch_closed() -> None:
    bench = clutched()
    before = bench.tcp
    bench.input = place(hand(3.05, 2.04, 1.02, (0, 0, 0.3)), "deadman")
    bench.run(2.0)
    np.testing.assert_allclose(bench.tcp[:3, 3] - before[:3, 3], [0.05, 0.04, 0.02], atol=0.003)
    np.testing.assert_allclose(bench.tcp[:3, :3], matrix_of_vector(np.array([0, 0, 0.3])) @ before[:3, :3], atol=0.01)


def test_the_clutch_reopened_elsewhere_moves_nothing() -> None:
    bench = clutched()
    bench.input = place(hand(3.05, 2, 1), "deadman")
    bench.run(1.5)
    bench.input = place(hand(3.05, 2, 1))
    bench.run(0.3)
    rest = bench.tcp
    for x in (3.0, 2.95, 2.9):
        bench.input = place(hand(x, 2, 1))
        bench.run(0.1)
    bench.input = place(hand(2.9, 2, 1), "deadman")
    bench.run(0.5)
    np.testing.assert_allclose(bench.tcp, rest, atol=1e-6)
    bench.input = place(hand(2.94, 2, 1), "deadman")
    bench.run(1.5)
    np.testing.assert_allclose(bench.tcp[:3, 3] - rest[:3, 3], [0.04, 0, 0], atol=0.003)


def test_in_the_tool_frame_the_hand_moves_the_tool_along_its_own_axes() -> None:
    bench = clutched("tool")
    before = bench.tcp
    bench.input = place(hand(3, 2, 1.05), "deadman")
    bench.run(1.5)
    np.testing.assert_allclose(bench.tcp[:3, 3] - before[:3, 3], 0.05 * before[:3, 2], atol=0.003)


def test_a_tracker_in_another_frame_is_turned_into_the_base() -> None:
    device = load_device("pose")
    half = np.sqrt(0.5)
    turned = replace(device, pose=replace(device.pose, device_to_base_wxyz=(half, 0, 0, half), position_scale=2.0))
    bench = Bench(turned)
    bench.input = place(hand(0, 0, 0))
    bench.engage()
    bench.input = place(hand(0, 0, 0), "deadman")
    bench.run(0.1)
    before = bench.tcp
    bench.input = place(hand(0.04, 0, 0, (0.2, 0, 0)), "deadman")
    bench.run(2.0)
    np.testing.assert_allclose(bench.tcp[:3, 3] - before[:3, 3], [0, 0.08, 0], atol=0.004)
    np.testing.assert_allclose(bench.tcp[:3, :3], matrix_of_vector(np.array([0, 0.2, 0])) @ before[:3, :3], atol=0.01)


def test_a_tracker_that_jumps_is_refused_until_the_clutch_is_opened() -> None:
    bench = clutched()
    before = bench.tcp
    bench.input = place(hand(3.5, 2, 1), "deadman")
    bench.run(0.4)
    assert bench.teleop.state is State.REFUSED
    np.testing.assert_allclose(bench.tcp, before, atol=1e-6)
    bench.input = place(hand(3.5, 2, 1))
    bench.run(0.1)
    assert bench.teleop.state is State.FREE


def test_a_jump_counts_though_another_message_comes_before_the_tick() -> None:
    bench = clutched()
    for x in (3.5, 3.5):
        bench.teleop.on_motion(hand(x, 2, 1), bench.now_s)
    bench.input = place(hand(3.5, 2, 1), "deadman")
    bench.run(0.4)
    assert bench.teleop.state is State.REFUSED


def test_a_leader_with_other_joints_than_the_arm_is_refused() -> None:
    leader = load_device("leader").leader
    short = replace(leader, names=leader.names[:6], signs=leader.signs[:6], offsets_rad=leader.offsets_rad[:6])
    with pytest.raises(ConfigError, match=r"leader.names: .*7 names, one per joint"):
        Bench(replace(load_device("leader"), leader=short))
