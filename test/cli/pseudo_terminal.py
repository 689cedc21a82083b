"""A person at a terminal: a command in a real pseudo-terminal, keys typed into it, its screen read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[@-~]")
_PATIENCE_S = 60.0


class Terminal:
    """A process whose controlling terminal is the other end of `master`."""

    def __init__(self, master: int, slave: int, process: subprocess.Popen[bytes]) -> None:
        self._master, self._slave, self.process = master, slave, process
        self._output = b""
        self._read_to = 0
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):  # EIO: closed
            while data := os.read(self._master, 65536):
                self._output += data

    @property
    def text(self) -> str:
        """All output so far, without escape sequences."""
        return _ESCAPES.sub("", self._output.decode(errors="replace"))

    def type(self, keys: str) -> None:
        """Keys as the terminal sends them."""
        os.write(self._master, keys.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until the output after the last match holds `pattern`."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (match := re.compile(pattern).search(self.text, self._read_to)):
            if time.monotonic() > deadline or self.process.poll() is not None:
                time.sleep(0.2)  # its last words are still on their way
                if not re.compile(pattern).search(self.text, self._read_to):
                    rest = self.text[self._read_to :]
                    raise AssertionError(
                        f"no {pattern!r} in what followed:\n{rest[:3000]}\n[...]\n{rest[3000:][-3000:]}"
                    )
            time.sleep(0.01)
        self._read_to = match.end()
        return match

    @property
    def modes(self) -> list[Any]:
        """What `stty -g` prints."""
        return termios.tcgetattr(self._slave)

    @property
    def reads_keys(self) -> bool:
        """Whether single keys are read without echo."""
        return not self.modes[3] & (termios.ICANON | termios.ECHO)

    def wait_for_keys(self, expected: bool = True) -> None:
        """Wait until the terminal is in that mode, or has left it."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.reads_keys != expected:
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.01)

    def wait_until_stopped(self) -> None:
        """Wait until the process is suspended, as a shell does."""
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), self.text

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Exit code."""
        return self.process.wait(_PATIENCE_S)


@contextmanager
def terminal(command: list[str], env: Mapping[str, str], cwd: Path | None = None) -> Iterator[Terminal]:
    """Run `python COMMAND` in a terminal of 140 x 50 characters."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**env, "TERM": "xterm"},
        cwd=cwd,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 -- one system call
    )
    shown = Terminal(master, slave, process)
    try:
        yield shown
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(slave)
        os.close(master)
