"""Keys through a real pseudo-terminal: what is read, and how the terminal is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pseudo_terminal import Terminal, terminal

from hpt_ros.cli.keys import KeyParser, RepeatFilter, line_key

pytestmark = pytest.mark.live

_ECHO_KEYS = """
import sys
from hpt_ros.cli.keys import *
with open_keys() as keys:
    print("open", flush=True)
    while True:
        for key in keys.read(0.05):
            print("key", key, flush=True)
            if key in (INTERRUPT, "x"):
                raise KeyboardInterrupt
            if key in (TERMINATE, END):
                sys.exit(7)
            if key == "!":
                raise RuntimeError("broken")
            if key == SUSPEND:
                keys.suspend()
                print("back", flush=True)
            if key == "n":
                keys.begin_line()
                print("line:", flush=True)
                while (line := keys.read_line(0.05)) is None:
                    pass
                keys.end_line()
                print(f"read [{line}]", flush=True)
"""


@pytest.fixture
def echo():
    with terminal(["-c", _ECHO_KEYS], dict(os.environ)) as shown:
        before = shown.modes
        shown.expect("open")
        shown.wait_for_keys()
        yield shown, before


def test_keys_are_read_at_once_and_sequences_are_one_key(echo: tuple[Terminal, list]) -> None:
    shown, _ = echo
    for typed, key in (("s", "s"), ("\r", "enter"), (" ", "space"), ("\x1b[5~", "pageup"), ("\x1b[6~", "pagedown")):
        shown.type(typed)
        assert shown.expect(r"key (\S+)")[1] == key
    shown.type("\x1b[A\x1bOP\x7f1")
    assert [shown.expect(r"key (\S+)")[1] for _ in range(4)] == ["up", "f1", "backspace", "1"]
    assert "5~" not in shown.text


@pytest.mark.parametrize("typed", ["\x03", "x", "!"])
def test_the_terminal_is_restored_after_ctrl_c_and_errors(echo: tuple[Terminal, list], typed: str) -> None:
    shown, before = echo
    assert shown.modes != before
    shown.type(typed)
    assert shown.wait() != 0
    assert shown.modes == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_terminal_is_restored_after_a_signal(echo: tuple[Terminal, list], number: signal.Signals) -> None:
    shown, before = echo
    shown.send(number)
    assert shown.wait() != 0
    assert shown.modes == before


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it(echo: tuple[Terminal, list]) -> None:
    shown, before = echo
    shown.type("\x1a")
    shown.wait_until_stopped()
    assert shown.modes == before
    shown.send(signal.SIGCONT)
    shown.expect("back")
    shown.wait_for_keys()
    shown.type("s")
    shown.expect("key s")


def test_a_line_is_edited_by_the_terminal_and_keys_follow(echo: tuple[Terminal, list]) -> None:
    shown, before = echo
    shown.type("n")
    shown.expect("line:")
    shown.wait_for_keys(False)
    assert shown.modes == before
    shown.type("slip\x7f\x7f\x7f\x7fcube fell, twice\r")
    shown.expect(r"read \[cube fell, twice\]")
    shown.wait_for_keys()
    shown.type("s")
    shown.expect("key s")
    shown.type("n")
    shown.expect("line:")
    shown.wait_for_keys(False)
    shown.type("half\x03")
    shown.expect(r"read \[\]")
    shown.wait_for_keys()


def test_without_a_terminal_a_line_is_a_key() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _ECHO_KEYS],
        input="s\n\nPageUp\n1\nn\nthe cube fell\nq",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.stdout.split("\n")[1:-1] == [
        *("key s", "key enter", "key pageup", "key 1", "key n", "line:", "read [the cube fell]", "key q"),
        "key end of input",
    ]
    assert finished.returncode == 7


@given(st.lists(st.sampled_from(["\x1b[5~", "\x1b[6~", "\x1b[A", "\x1b[1;5C", "\x1bOP", "é", "1", "\r"])), st.data())
def test_however_the_bytes_are_cut_no_digit_of_a_sequence_becomes_a_key(typed: list[str], data) -> None:
    names = {"\x1b[5~": "pageup", "\x1b[6~": "pagedown", "\x1b[A": "up", "\x1bOP": "f1", "\r": "enter"}
    rest = "".join(typed).encode()
    parser, keys = KeyParser(), []
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        keys += parser.feed(rest[:size])
        rest = rest[size:]
    assert keys == [names.get(key, key) for key in typed if key != "\x1b[1;5C"]


def test_a_held_pedal_is_one_press() -> None:
    repeats = RepeatFilter(window_s=0.7)
    assert repeats.passes("enter", 10.0)
    assert not any(repeats.passes("enter", 10.6 + 0.03 * i) for i in range(100))
    assert repeats.passes("1", 13.7)
    assert repeats.passes("enter", 13.8)
    assert repeats.passes("enter", 14.6)


@pytest.mark.parametrize(("line", "key"), [("", "enter"), ("s", "s"), ("PageDown", "pagedown"), ("what?", "what?")])
def test_lines_name_keys(line: str, key: str) -> None:
    assert line_key(line) == key
