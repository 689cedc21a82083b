"""Which key means what: one meaning a state, and all of them on the screen."""

from __future__ import annotations

import pytest

from hpt_ros.errors import ConfigError
from hpt_ros.recording.operator import STEPS, Event, State
from hpt_ros.recording.operator_buttons import BUTTONS, RisingEdges
from hpt_ros.recording.operator_keys import KeyBindings, legend, load_key_bindings, meanings


def test_every_step_but_any_other_key_can_be_pressed_and_is_shown() -> None:
    found = meanings(KeyBindings().by_event())
    for state, steps in STEPS.items():
        reachable = {event for (where, _), event in found.items() if where is state}
        assert reachable == set(steps) - {Event.GO_ON}
        assert [label for _, label in legend(state, KeyBindings())] == [step.label for step in steps.values()]


@pytest.mark.parametrize("pedal", ["enter", "space", "pagedown"])
def test_one_pedal_starts_and_saves(pedal: str) -> None:
    found = meanings(KeyBindings().by_event())
    assert found[State.READY, pedal] is Event.START
    assert found[State.RECORDING, pedal] is Event.SUCCESS


def test_a_pedal_alone_never_takes_a_saved_episode_back() -> None:
    found = meanings(KeyBindings().by_event())
    for pedal in ("b", "pageup", "backspace"):
        assert found[State.RECORDING, pedal] is Event.DISCARD
        assert (State.READY, pedal) not in found


def test_a_file_replaces_the_lines_it_has(tmp_path) -> None:
    (tmp_path / "keys.yaml").write_text("start: [f5]\nsuccess: [f5, f6]\n")
    bindings = load_key_bindings(tmp_path / "keys.yaml")
    assert (bindings.start, bindings.success, bindings.fail) == (("f5",), ("f5", "f6"), ("0",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("success: ['0']", "fail: found '0', allowed: one meaning in state RECORDING"),
        ("start: [ctrl-q]", "a single character, or one of enter"),
        ("begin: [s]", "one of start, success"),
        ("quit: []", "at least one key"),
        ("start: s", "a list"),
    ],
)
def test_a_file_that_cannot_work_is_refused(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_key_bindings(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_default_buttons_have_one_meaning_each() -> None:
    meanings({event: (index,) for event, index in BUTTONS.items() if index >= 0})


def test_a_held_or_bouncing_button_is_one_press() -> None:
    edges = RisingEdges(debounce_s=0.05)
    assert edges.update([0, 1], 0.0) == []
    assert edges.update([1, 1], 1.0) == [0]
    assert edges.update([0, 1], 1.005) == []
    assert edges.update([1, 1], 1.01) == []
    for step in range(20):
        assert edges.update([1, 1], 1.1 + 0.06 * step) == []
    assert edges.update([0, 0], 3.0) == []
    assert edges.update([1, 1], 3.2) == [0, 1]


def test_a_device_with_more_buttons_than_before_is_no_press_of_the_old_ones() -> None:
    edges = RisingEdges()
    assert edges.update([1], 0.0) == []
    assert edges.update([1, 1], 1.0) == [1]
