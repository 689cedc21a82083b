"""Single keys from a terminal, over SSH as well, without a display or root; lines where there is no terminal."""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from contextlib import ExitStack, suppress
from types import FrameType
from typing import Protocol

from hpt_ros.recording.operator_keys import INTERRUPT, NAMED_KEYS

SUSPEND, TERMINATE, END = "ctrl-z", "terminate", "end of input"  # not keys to map: what the terminal does to us
REPEAT_S = 0.7  # a key or pedal that is held repeats after up to 0.66 s, then faster: that is one press
_SIGNALS = {signal.SIGINT: INTERRUPT, signal.SIGTSTP: SUSPEND, signal.SIGTERM: TERMINATE, signal.SIGHUP: TERMINATE}
_CONTROL = {"\r": "enter", "\n": "enter", " ": "space", "\t": "tab", "\x7f": "backspace", "\b": "backspace"}
_FUNCTION_KEYS = (11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24)  # of VT220 and xterm, ending in ~
_SEQUENCES = {
    **{"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"},
    **{"P": "f1", "Q": "f2", "R": "f3", "S": "f4", "M": "enter"},
    **{"1~": "home", "2~": "insert", "3~": "delete", "4~": "end", "5~": "pageup", "6~": "pagedown"},
    **{"7~": "home", "8~": "end"},
    **{f"{code}~": f"f{number}" for number, code in enumerate(_FUNCTION_KEYS, 1)},
}
_SEQUENCE = re.compile(r"\x1b[\[O]([0-9;?]*[@-~])")
_UNFINISHED = re.compile(r"\x1b([\[O][0-9;?]*)?\Z")


class KeyParser:
    """Bytes of a terminal -> names of keys.

    Escape sequences that are cut in two are waited for, and unknown ones dropped: the digits in them are no keys. For
    the same reason the Escape key alone is none.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._text = ""

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete now."""
        self._text += self._decoder.decode(data)
        keys = []
        while self._text and not _UNFINISHED.match(self._text):
            if sequence := _SEQUENCE.match(self._text):
                keys.append(_SEQUENCES.get(sequence[1], ""))
                self._text = self._text[sequence.end() :]
            else:
                character, self._text = self._text[0], self._text[1:]
                keys.append(_CONTROL.get(character, character if character.isprintable() else ""))
        return [key for key in keys if key]


class RepeatFilter:
    """Lets the first of a key's repeats pass: a pedal that is held down means one press."""

    def __init__(self, window_s: float = REPEAT_S) -> None:
        self._window_s = window_s
        self._key, self._seen_s = "", 0.0

    def passes(self, key: str, now_s: float) -> bool:
        """Whether this is a new press; `now_s` is a monotonic clock."""
        repeats = key == self._key and now_s - self._seen_s < self._window_s
        self._key, self._seen_s = key, now_s
        return not repeats


class Keys(Protocol):
    """What a session reads from; a context manager."""

    interactive: bool  # a person presses keys now; otherwise each line waits until it is asked for

    def __enter__(self) -> Keys: ...
    def __exit__(self, *_: object) -> None: ...
    def read(self, timeout_s: float) -> list[str]:
        """Keys that came in; signals are keys too (INTERRUPT, SUSPEND, TERMINATE), and so is END."""

    def read_line(self, timeout_s: float) -> str | None:
        """A line as it was edited; None while there is none yet. A signal ends it as an empty one."""

    def begin_line(self) -> None:
        """From now on a line is typed, with echo and the terminal's own editing."""

    def end_line(self) -> None:
        """From now on keys are read again."""

    def suspend(self) -> None:
        """Stop this process as Ctrl-Z does, with the terminal as it was; returns when it goes on."""


def open_keys() -> Keys:
    """Keys of the terminal that is standard input, or its lines where it is a pipe or a file."""
    return TerminalKeys() if sys.stdin.isatty() else LineKeys()


class _SignalKeys:
    """Signals become keys while this is entered, so that they are handled between two steps and never in one."""

    def __init__(self) -> None:
        self._signals: deque[str] = deque()
        self._stack = ExitStack()

    def _enter(self) -> None:
        for number in _SIGNALS:
            self._stack.callback(signal.signal, number, signal.signal(number, self._on_signal))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(_SIGNALS[signal.Signals(number)])

    def _taken(self) -> list[str]:
        return [self._signals.popleft() for _ in range(len(self._signals))]

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class TerminalKeys(_SignalKeys):
    """A terminal in cbreak mode: no line, no echo, signals stay. It is restored on every way out."""

    interactive = True

    def __init__(self, fd: int | None = None) -> None:
        super().__init__()
        self._fd = sys.stdin.fileno() if fd is None else fd
        self._parser = KeyParser()
        self._repeats = RepeatFilter()

    def __enter__(self) -> TerminalKeys:
        self._before = termios.tcgetattr(self._fd)
        self._stack.callback(self._restore)
        self._enter()
        self._single()
        return self

    def read(self, timeout_s: float) -> list[str]:
        """Keys that came in within `timeout_s`, repeats of a held one left out."""
        data = self._bytes(timeout_s)
        if data == b"":
            return [*self._taken(), END]
        now_s = time.monotonic()
        keys = [key for key in self._parser.feed(data or b"") if self._repeats.passes(key, now_s)]
        return [*self._taken(), *keys]

    def read_line(self, timeout_s: float) -> str | None:
        """The line, once Enter was pressed; empty after a signal or Ctrl-D."""
        data = self._bytes(timeout_s)
        if self._signals:
            if self._signals[0] == INTERRUPT:  # ends the line only; the others are for the next `read`
                self._signals.popleft()
            return ""
        return None if data is None else data.decode(errors="replace").strip()

    def begin_line(self) -> None:
        """The terminal edits a line, as it was before."""
        self._restore()

    def end_line(self) -> None:
        """Single keys again."""
        self._single()

    def suspend(self) -> None:
        """SIGSTOP after the terminal was restored; back in cbreak mode when SIGCONT comes."""
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._single()

    def _bytes(self, timeout_s: float) -> bytes | None:
        """What there is; None: nothing in time, empty: the terminal is gone."""
        if not select.select([self._fd], [], [], 0.0 if self._signals else timeout_s)[0]:
            return None
        try:
            return os.read(self._fd, 1024)
        except OSError:  # EIO: the terminal hung up
            return b""

    def _single(self) -> None:
        with suppress(termios.error):  # it hung up: the next `read` says so
            tty.setcbreak(self._fd, termios.TCSAFLUSH)

    def _restore(self) -> None:
        with suppress(termios.error):  # it hung up: there is nothing to restore
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


class LineKeys(_SignalKeys):
    """One key a line, by its name or as a single character; an empty line is Enter."""

    interactive = False

    def __init__(self, fd: int | None = None) -> None:
        super().__init__()
        self._fd = sys.stdin.fileno() if fd is None else fd
        self._data = b""

    def __enter__(self) -> LineKeys:
        self._enter()
        return self

    def read(self, timeout_s: float) -> list[str]:
        """The key of the next line."""
        line = self._line(timeout_s)
        if self._signals or line is None:
            return self._taken() + ([line_key(line)] if line is not None else [])
        return [line_key(line)]

    def read_line(self, timeout_s: float) -> str | None:
        """The next line."""
        line = self._line(timeout_s)
        return "" if line == END or self._signals else line

    def begin_line(self) -> None:
        """Lines are all there is."""

    def end_line(self) -> None:
        """Lines are all there is."""

    def suspend(self) -> None:
        """Stop this process; returns when it goes on."""
        os.kill(os.getpid(), signal.SIGSTOP)

    def _line(self, timeout_s: float) -> str | None:
        while b"\n" not in self._data:
            if not select.select([self._fd], [], [], 0.0 if self._signals else timeout_s)[0]:
                return None
            data = os.read(self._fd, 1024)
            if not data:
                rest, self._data = self._data, b""
                return rest.decode(errors="replace").strip() if rest else END
            self._data += data
        line, _, self._data = self._data.partition(b"\n")
        return line.decode(errors="replace").strip()


def line_key(line: str) -> str:
    """The key that a line names; a line that is no key is handed on as it is, to be refused by name."""
    name = line.lower()
    return name if name in NAMED_KEYS or line == END else line or "enter"
