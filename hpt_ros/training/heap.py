"""Memory that a step has freed stays with the process for the next step."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Make malloc reuse large blocks, in the whole process and from now on; False where there is no glibc.

    By default glibc gives tensors of a few megabytes and more back to the system when they are freed, and every page of the next
    step's must be mapped and zeroed again: a fifth to a third of the time of a step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20, _ARENA_MAX: 1}
    taken = [mallopt(option, value) == 1 for option, value in settings.items()]
    return all(taken)
