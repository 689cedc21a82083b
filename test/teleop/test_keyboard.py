"""Keys of a terminal as a stick: they count for a while, fade, and stop."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.teleop.config import MOTIONS, Speed, load_device
from hpt_ros.teleop.keyboard import ACTION_KEYS, HOLD_S, MOTION_KEYS, Keyboard

SPEED = Speed(linear_m_s=0.1, angular_rad_s=0.5)


def test_a_key_moves_one_axis_then_fades_to_nothing() -> None:
    keys = Keyboard(SPEED)
    keys.press("s", 10.0)
    np.testing.assert_array_equal(keys.deflections(10.0), [-1, 0, 0, 0, 0, 0])
    faded = [keys.deflections(10.0 + t)[0] for t in np.linspace(0, HOLD_S, 9)]
    assert faded == sorted(faded)
    assert faded[4] == -1
    assert keys.deflections(10.0 + HOLD_S).any() == False  # noqa: E712
    assert not keys.deflections(99.0).any()


def test_repeats_keep_it_full_and_two_keys_add_up() -> None:
    keys = Keyboard(SPEED)
    for i in range(20):
        keys.press("w", 0.033 * i)
        keys.press("r", 0.033 * i)
        np.testing.assert_array_equal(keys.deflections(0.033 * i + 0.03)[:3], [1, 0, 1])


def test_any_other_key_stops_at_once() -> None:
    keys = Keyboard(SPEED)
    keys.press("w", 0.0)
    assert not keys.press("z", 0.01)
    assert not keys.deflections(0.02).any()


@pytest.mark.parametrize(("key", "full"), [("w", 0.1), ("j", 0.5)])
def test_a_step_is_a_small_movement_however_often_the_clock_ticks(key: str, full: float) -> None:
    keys = Keyboard(SPEED)
    keys.press("m", 0.0)
    keys.press(key, 1.0)
    times = np.arange(1.0, 1.5, 1e-3)
    path = sum(np.abs(keys.deflections(t)).max() for t in times) * 1e-3 * full
    assert path == pytest.approx(0.005 if key == "w" else 0.035, rel=0.05)


def test_buttons_are_down_for_a_moment() -> None:
    keys = Keyboard(SPEED)
    keys.press("space", 0.0)
    assert keys.actions(0.1) == {"gripper"}
    assert not keys.actions(0.3)


def test_every_motion_has_two_keys_and_every_action_a_button() -> None:
    assert sorted(MOTION_KEYS.values()) == sorted((motion, sign) for motion in MOTIONS for sign in (1, -1))
    buttons = load_device("keyboard").buttons
    assert set(ACTION_KEYS.values()) == set(buttons.indices)
