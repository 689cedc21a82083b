"""How busy this machine is, for tests that a busy one may spoil."""

from __future__ import annotations

import threading
import time


class Lateness:
    """How late a thread wakes up on this machine, at worst."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._stop = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._stop.is_set():
            due_s = time.monotonic() + 0.01
            time.sleep(0.01)
            self.worst_s = max(self.worst_s, time.monotonic() - due_s)

    def close(self) -> None:
        self._stop.set()
