"""A name that one process of this machine holds at a time."""

from __future__ import annotations

import socket


class NameLock:
    """Holds `hpt_ros.<name>` for as long as the object lives; the kernel gives it back when the process ends, however it ends.

    The lock is an abstract Unix socket: machine-wide, no file is left behind.

    Raises:
        OSError: another process holds it.
    """

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(f"\0hpt_ros.{name}")
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Give the name back."""
        self._socket.close()
