"""What the control thread sleeps for, other than its next deadline: locks, which the scheduler's own statistics do not show.

`python -m hpt_ros.benchmarks.lock_watch PID FILE` watches the commander's process PID until SIGTERM.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpt_ros.benchmarks.processes import process
from hpt_ros.benchmarks.standstill import Span
from hpt_ros.control.realtime import CONTROL_THREAD, HIGHEST_PRIORITY, fifo_permitted
from hpt_ros.control.tick_times import OWN_LOCK, SHARED_LOCK, SYSTEM_CALL

_PERIOD_S = 0.002
_FILE = "lock_waits.txt"
_SLEEPS = {"x86_64": (35, 230), "aarch64": (101, 115)}  # nanosleep, clock_nanosleep: the pacing
_FUTEX = {"x86_64": 202, "aarch64": 98}
_FUTEX_PRIVATE = 128  # linux/futex.h: of threads of one process


@contextmanager
def watch_control_thread(pid: int, folder: Path) -> Iterator[None]:
    """A thread of the highest priority looks every 2 ms at what the control thread of `pid` waits for, and notes it in `folder`.

    Nothing is noted without that priority, where the kernel does not tell (/proc/PID/syscall), and on other processors.
    """
    told = platform.machine() in _FUTEX and os.access(f"/proc/{pid}/syscall", os.R_OK)
    if not told or fifo_permitted() < HIGHEST_PRIORITY:
        yield
        return
    with process("hpt_ros.benchmarks.lock_watch", str(pid), str(folder / _FILE)):
        yield


def lock_waits(folder: Path) -> dict[str, list[Span]]:
    """What was noted there, by cause."""
    found: dict[str, list[Span]] = {SHARED_LOCK: [], SYSTEM_CALL: [], OWN_LOCK: []}
    notes = folder / _FILE
    for line in notes.read_text().splitlines() if notes.exists() else ():
        begin_s, end_s, cause = line.split(maxsplit=2)
        found[cause].append((float(begin_s), float(end_s)))
    return found


def cause_of(syscall: str, machine: str) -> str | None:
    """Of a line of /proc/PID/task/TID/syscall; None: the thread runs, wants to run or waits for its deadline. Source: proc(5)."""
    number, *arguments = syscall.split()
    if not number.isdecimal() or int(number) in _SLEEPS[machine]:
        return None
    if int(number) != _FUTEX[machine]:
        return SYSTEM_CALL
    return OWN_LOCK if int(arguments[1], 16) & _FUTEX_PRIVATE else SHARED_LOCK


def _control_thread(pid: int) -> Path:
    """Its folder in /proc, as soon as it is there."""
    while True:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # a thread that has just ended
                if (task / "comm").read_text().strip() == CONTROL_THREAD:
                    return task
        time.sleep(0.1)


def main() -> None:
    """Ends with the thread that it watches."""
    machine, file = platform.machine(), os.open(_control_thread(int(sys.argv[1])) / "syscall", os.O_RDONLY)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(HIGHEST_PRIORITY))
    gc.disable()
    with Path(sys.argv[2]).open("w", buffering=1) as notes:
        cause, begin_s, seen_s = None, 0.0, 0.0
        lives = True
        while lives:
            try:
                now = cause_of(os.pread(file, 256, 0).decode(), machine)
            except ProcessLookupError:
                now, lives = None, False
            now_s = time.time()
            if now != cause:
                if cause and seen_s > begin_s:
                    notes.write(f"{begin_s:.6f} {seen_s:.6f} {cause}\n")
                cause, begin_s = now, now_s
            seen_s = now_s
            time.sleep(_PERIOD_S)


if __name__ == "__main__":
    main()
