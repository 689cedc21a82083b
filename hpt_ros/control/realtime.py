"""What Linux gives a control thread that asks for it: a place before ordinary processes, and memory that is never paged out."""

from __future__ import annotations

import ctypes
import os
import resource
import threading
from contextlib import suppress
from pathlib import Path

from hpt_ros.errors import HptRosError

HIGHEST_PRIORITY = 98  # of what a node may ask for: 99 is the kernel's own threads'
SHIPPED_PRIORITY = 60  # of a control thread that takes what its user is permitted: above interrupts' threads
_LOCK_ALL = 1 | 2  # MCL_CURRENT | MCL_FUTURE
_CAP_IPC_LOCK = 14  # linux/capability.h; its owner is not bound by RLIMIT_MEMLOCK
CONTROL_THREAD = "control"
GROUP_FILE = "/etc/security/limits.d/realtime.conf"


class RealtimeRefused(HptRosError):
    """The system does not permit what was asked for."""


def run_first(thread: threading.Thread, priority: int) -> None:
    """Schedule a running thread by SCHED_FIFO, 1 to `HIGHEST_PRIORITY`: before every ordinary thread of the machine.

    All other threads of the process, and those that they start, come right behind it: one that holds the interpreter's or
    the middleware's lock and does not get a processor would stop this one.

    Raises:
        RealtimeRefused: the user may not.
    """
    assert thread.native_id is not None, "started"
    try:
        _first_in_first_out(thread.native_id, priority)
        for other in map(int, os.listdir("/proc/self/task")):
            if other != thread.native_id:
                with suppress(ProcessLookupError):  # it has just ended
                    _first_in_first_out(other, max(1, priority - 1))
    except (OSError, AttributeError) as error:  # AttributeError: not Linux
        raise RealtimeRefused(
            f"realtime_priority {priority}: not permitted ({error})",
            f"add `@realtime - rtprio {HIGHEST_PRIORITY}` to {GROUP_FILE}, join that group and log in again; or leave realtime_priority at 0",
        ) from error


def name_this_thread(name: str) -> None:
    """What `top -H` and `ps -L` call the calling thread, at most 15 characters; Python tells the system from 3.14 on."""
    with suppress(OSError):
        Path("/proc/thread-self/comm").write_text(name)


def _first_in_first_out(thread_id: int, priority: int) -> None:
    os.sched_setscheduler(thread_id, os.SCHED_FIFO, os.sched_param(priority))


def lock_memory() -> None:
    """Keep all memory of the process, present and future, out of swap.

    Raises:
        RealtimeRefused: the user may not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_LOCK_ALL) != 0:
        raise RealtimeRefused(
            f"lock_memory: not permitted ({os.strerror(ctypes.get_errno())})",
            f"add `@realtime - memlock unlimited` to {GROUP_FILE}, join that group and log in again; or leave lock_memory off",
        )


def permissions() -> str:
    """What this user may ask for, and how the processor's clock is governed, in a line."""
    highest, memory = fifo_permitted(), memory_lock_limit()
    parts = [
        f"SCHED_FIFO up to {highest}" if highest else "no SCHED_FIFO",
        "memory lock unlimited" if memory is None else f"memory lock up to {memory / 1e6:.0f} MB",
        f"processor governor {', '.join(sorted(set(governors()))) or 'unknown'}",
    ]
    return ", ".join(parts)


def fifo_permitted() -> int:
    """The highest `realtime_priority` that this user gets; 0: none."""
    highest = resource.getrlimit(resource.RLIMIT_RTPRIO)[0] if os.geteuid() else HIGHEST_PRIORITY
    if highest == resource.RLIM_INFINITY:
        highest = HIGHEST_PRIORITY
    highest = min(highest, HIGHEST_PRIORITY)
    return highest if highest > 0 and _fifo_works(highest) else 0


def permitted_priority() -> int:
    """`SHIPPED_PRIORITY`, or less where this user may not ask for so much; 0: none."""
    return min(fifo_permitted(), SHIPPED_PRIORITY)


def memory_lock_limit() -> int | None:
    """How many bytes this user may lock; None: all."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return None if limit == resource.RLIM_INFINITY or _has_capability(_CAP_IPC_LOCK) else limit


def governors(root: Path = Path("/sys/devices/system/cpu")) -> list[str]:
    """How each processor's clock is governed; empty if the system does not say."""
    return [path.read_text().strip() for path in sorted(root.glob("cpu[0-9]*/cpufreq/scaling_governor"))]


def _has_capability(number: int) -> bool:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        effective = next(line for line in lines if line.startswith("CapEff:"))
        return bool(int(effective.split()[1], 16) >> number & 1)
    return False


def _fifo_works(priority: int) -> bool:
    """Containers refuse even root. Tried by a thread that ends: whatever interrupts the caller, its own scheduling stays."""
    worked: list[bool] = []

    def attempt() -> None:
        try:
            _first_in_first_out(0, priority)
        except (OSError, AttributeError):
            return
        worked.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(worked)
