"""Which key, pedal or button means what: one table for the terminal, the same rule for a joystick."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from hpt_ros.configuration import check, from_mapping, load_yaml
from hpt_ros.errors import ConfigError
from hpt_ros.recording.operator import STEPS, Event, State

I = TypeVar("I", bound=Hashable)  # noqa: E741 -- an input: the name of a key, the index of a button

NAMED_KEYS = (
    *("enter", "space", "tab", "backspace", "insert", "delete", "home", "end", "pageup", "pagedown"),
    *("up", "down", "left", "right"),
    *(f"f{number}" for number in range(1, 13)),
)
INTERRUPT = "ctrl-c"  # always means quit, and cannot be mapped to anything else


@dataclass(frozen=True)
class KeyBindings:
    """Keys by meaning. A key may stand in several lines as long as no state gives it two meanings.

    USB pedals are keyboards: most emit b, space, enter, pageup or pagedown.
    """

    start: tuple[str, ...] = ("enter", "space", "pagedown", "s")
    success: tuple[str, ...] = ("enter", "space", "pagedown", "1")
    partial: tuple[str, ...] = ("5",)
    fail: tuple[str, ...] = ("0",)
    discard: tuple[str, ...] = ("d", "b", "pageup", "backspace")
    redo: tuple[str, ...] = ("r",)
    undo: tuple[str, ...] = ("u",)
    note: tuple[str, ...] = ("n",)
    pause: tuple[str, ...] = ("p",)
    resume: tuple[str, ...] = ("p", "enter", "space", "pagedown")
    quit: tuple[str, ...] = ("q",)

    def __post_init__(self) -> None:
        for field in fields(self):
            for key in getattr(self, field.name):
                known = key in NAMED_KEYS or (len(key) == 1 and key.isprintable() and key != " ")
                check(known, field.name, key, f"a single character, or one of {', '.join(NAMED_KEYS)}")
        check(bool(self.quit), "quit", "no key", "at least one key")
        meanings(self.by_event())

    def by_event(self) -> dict[Event, tuple[str, ...]]:
        """The keys of every event that has a line."""
        return {Event(field.name): getattr(self, field.name) for field in fields(self)}


def load_key_bindings(path: Path) -> KeyBindings:
    """Bindings from a YAML file of lists, e.g. `start: [f5]`; lines that are not there keep their keys.

    Raises:
        ConfigError: an unknown meaning or key, or a key with two meanings in one state.
    """
    try:
        return from_mapping(KeyBindings, load_yaml(path))
    except ConfigError as error:
        raise error.under(f"{path}: ") from None


def meanings(
    inputs: Mapping[Event, tuple[I, ...]], table: Mapping[Any, Mapping[Event, Any]] = STEPS
) -> dict[tuple[Any, I], Event]:
    """What each input means in each state of `table`, by default that of recording.

    Raises:
        ConfigError: an input would mean two things in one state.
    """
    found: dict[tuple[Any, I], Event] = {}
    for state, steps in table.items():
        for event in steps:
            for given in inputs.get(event, ()):
                other = found.setdefault((state, given), event)
                check(
                    other is event,
                    event.value,
                    given,
                    f"one meaning in state {state.value}",
                    f"it means {other.value} already: take it out of one of the two",
                )
    return found


def legend(state: State, bindings: KeyBindings) -> list[tuple[str, str]]:
    """What can be pressed now: keys in words, and what they do."""
    keys = bindings.by_event()
    lines = [(" ".join(keys.get(event, ())), step.label) for event, step in STEPS[state].items()]
    return [(text or "any other key", label) for text, label in lines if text or state is State.ASKING]
