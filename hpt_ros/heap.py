"""What glibc's malloc does with memory that was freed, for processes whose large blocks come and go. Elsewhere nothing happens."""

from __future__ import annotations

import ctypes
from typing import Any

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8  # mallopt(3), malloc.h


def keep_large_blocks() -> None:
    """Reuse blocks up to 32 MB, the most that glibc accepts, and keep 128 MB of free memory.

    By default a block of an image's size is mapped and unmapped every time: taking a raw 640 x 480 image from the
    middleware costs seven times as much.
    """
    _set({_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 128 << 20})


def keep_all_blocks() -> None:
    """Reuse blocks of every size, and keep all free memory.

    By default tensors of more than a few megabytes go back to the system when they are freed, and every page of the next
    step's must be mapped and zeroed again: a third of the time of a training step on a CPU.
    """
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20, _ARENA_MAX: 1})


def give_back() -> None:
    """Return to the system what is free now."""
    if (trim := _function("malloc_trim")) is not None:
        trim(0)


def _set(options: dict[int, int]) -> None:
    if (mallopt := _function("mallopt")) is not None:
        for option, value in options.items():
            mallopt(option, value)


def _function(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except OSError:
        return None
