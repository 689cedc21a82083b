"""What a thread sleeps for, from the kernel's lines; and threads that are watched."""

from __future__ import annotations

import multiprocessing
import os
import platform
import threading
import time
from pathlib import Path

import pytest

from hpt_ros.benchmarks.lock_watch import cause_of, lock_waits, watch_control_thread
from hpt_ros.control.realtime import CONTROL_THREAD, HIGHEST_PRIORITY, fifo_permitted, name_this_thread
from hpt_ros.control.tick_times import OWN_LOCK, SHARED_LOCK, SYSTEM_CALL


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("running", None),
        ("-1 0x7ffd 0x7f1c", None),
        ("230 0x1 0x1 0x7f 0x0 0x0 0x0 0x7ffd 0x7f1c", None),
        ("202 0x7f3a 0x189 0x0 0x7f 0x0 0xffffffff 0x7ffd 0x7f1c", OWN_LOCK),
        ("202 0x7f3a 0x80 0x2 0x0 0x0 0x0 0x7ffd 0x7f1c", OWN_LOCK),
        ("202 0x7f3a 0x0 0x2 0x0 0x0 0x0 0x7ffd 0x7f1c", SHARED_LOCK),
        ("1 0x2 0x7f3a 0x10 0x0 0x0 0x0 0x7ffd 0x7f1c", SYSTEM_CALL),
    ],
)
def test_the_kernels_line_tells_the_cause(line: str, cause: str | None) -> None:
    assert cause_of(line, "x86_64") == cause


def test_the_control_threads_waits_are_noted(tmp_path: Path) -> None:
    """Each wait between two sleeps, which are the pacing and do not count."""
    own, shared = threading.Lock(), multiprocessing.get_context("spawn").Lock()
    own.acquire()
    shared.acquire()
    begin = threading.Event()

    def control() -> None:
        name_this_thread(CONTROL_THREAD)
        begin.wait()
        time.sleep(0.1)
        own.acquire(timeout=0.3)
        time.sleep(0.1)
        shared.acquire(timeout=0.2)

    thread = threading.Thread(target=control)
    thread.start()
    watched = fifo_permitted() >= HIGHEST_PRIORITY and platform.machine() in ("x86_64", "aarch64")
    with watch_control_thread(os.getpid(), tmp_path):
        end_s = time.monotonic() + 30
        while watched and not list(tmp_path.iterdir()) and time.monotonic() < end_s:
            time.sleep(0.1)
        begin.set()
        thread.join()
        time.sleep(0.3)
    noted = {cause: sum(end_s - begin_s for begin_s, end_s in spans) for cause, spans in lock_waits(tmp_path).items()}
    if not watched:
        assert not any(noted.values())
        return
    assert noted[OWN_LOCK] > 0.2
    assert noted[SHARED_LOCK] > 0.1
    assert noted[SYSTEM_CALL] < 0.1
