"""What the system permits is used, what it refuses is said: with the cause and the line that mends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpt_ros.control.realtime import SHIPPED_PRIORITY, fifo_permitted, governors, permissions, permitted_priority

CODE = """
import os, threading
from hpt_ros.control.realtime import lock_memory, run_first
done = threading.Event()
thread = threading.Thread(target=done.wait, daemon=True)
other = threading.Thread(target=done.wait, daemon=True)
thread.start()
other.start()
run_first(thread, 10)
heir = threading.Thread(target=done.wait, daemon=True)
heir.start()
lock_memory()
threads = [thread, other, threading.main_thread(), heir]
print({os.sched_getscheduler(t.native_id) for t in threads} == {os.SCHED_FIFO}, *(os.sched_getparam(t.native_id).sched_priority for t in threads))
print([line for line in open("/proc/self/status") if line.startswith("VmLck")][0].split()[1] != "0")
"""


def permitted() -> bool:
    return fifo_permitted() > 0 and os.geteuid() == 0


def test_priority_and_memory_lock() -> None:
    if not permitted():
        pytest.skip("SCHED_FIFO is not permitted here")
    child = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["True", "10", "9", "9", "9", "True"]


@pytest.mark.parametrize(
    ("call", "limit", "message"),
    [
        ("m.run_first(threading.current_thread(), 50)", "RLIMIT_RTPRIO", "realtime_priority 50: not permitted"),
        ("m.lock_memory()", "RLIMIT_MEMLOCK", "lock_memory: not permitted"),
    ],
)
def test_what_is_not_permitted_is_refused_with_what_to_do(call: str, limit: str, message: str) -> None:
    """A child gives its rights away."""
    code = f"""
import os, resource, threading
import hpt_ros.control.realtime as m
resource.setrlimit(resource.{limit}, (0, 0))
if os.geteuid() == 0:
    os.setuid(65534)
try:
    {call}
except m.RealtimeRefused as refusal:
    print(refusal)
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.startswith(message)
    assert "limits.d/realtime.conf" in child.stdout


def test_the_permissions_fit_in_a_line() -> None:
    text = permissions()
    assert "SCHED_FIFO" in text
    assert "memory lock" in text
    assert "governor" in text
    assert os.sched_getscheduler(0) == os.SCHED_OTHER, "looking changes nothing"


def test_governors_are_those_of_every_processor(tmp_path: Path) -> None:
    assert governors(tmp_path) == []
    for processor, text in ((0, "performance"), (1, "powersave")):
        folder = tmp_path / f"cpu{processor}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{text}\n")
    assert governors(tmp_path) == ["performance", "powersave"]


def test_what_is_permitted_is_taken_and_no_more() -> None:
    assert permitted_priority() == (SHIPPED_PRIORITY if permitted() else 0)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER, "looking changes nothing"
