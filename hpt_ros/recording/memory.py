"""Large buffers that come and go at camera rate, without a page fault for each of their pages."""

from __future__ import annotations

import ctypes

# what waited for a disk that stalled is given back from here on
BURST_BYTES = 32 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_MMAP_FROM_BYTES = 32 << 20  # the most that glibc accepts
_KEEP_BYTES = 128 << 20


def keep_large_blocks() -> None:
    """Let glibc reuse blocks up to 32 MB, and keep 128 MB of free memory, for this process.

    By default a block of an image's size is mapped and unmapped every time: taking a raw 640 x 480 image from the
    middleware costs seven times as much. Elsewhere than with glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_FROM_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)


def give_back() -> None:
    """Return free memory to the system: after a burst, as `keep_large_blocks` would keep it for good. With glibc only."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
