"""Whether caches fit on the disk, and their computation into memory; said before anything is computed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpt_ros.errors import DataError
from hpt_ros.model.encoders import ImageEncoder

MARGIN_BYTES = 256 << 20  # left on the disk for the run itself
ACTIVATIONS = 40  # an encoder's working memory, in multiples of its float32 input; ResNet-18 and DINOv2 take below 20


def require_room(caches: Sequence[tuple[Path, int, int]]) -> None:
    """Folder of each cache, bytes that it will have, bytes that it has.

    Raises:
        DataError: they do not fit, or a folder cannot be made.
    """
    needed: dict[int, int] = {}
    for folder, size, held in caches:
        place = _existing(folder)
        if not os.access(place, os.W_OK | os.X_OK):
            raise DataError(
                f"{place}: the cache of image features cannot be written there",
                "make the demonstrations' folder writable, or set cache_features: false",
            )
        device = place.stat().st_dev
        needed[device] = needed.get(device, 0) + max(0, size - held)
        free = shutil.disk_usage(place).free
        if needed[device] and needed[device] + MARGIN_BYTES > free:
            raise DataError(
                f"{place}: the cache of image features needs {needed[device] / 1e6:.1f} MB more, and the run {MARGIN_BYTES / 1e6:.0f} MB; {free / 1e6:.1f} MB are free",
                "free some space (old caches lie in DEMOS/features), lower augmentation.copies, or set cache_features: false",
            )


def require_memory(encoder: ImageEncoder, workers: int, frames: int) -> None:
    """Raise DataError when encoding would need more memory than there is."""
    largest = max(float(np.prod(size)) * 3 * 4 for size in encoder.sizes_px.values())
    needed, free = workers * frames * largest * ACTIVATIONS, available_bytes()
    if free is not None and needed > free:
        raise DataError(
            f"encoding the images needs about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            "end other programs, or lower the cameras' size_px",
        )


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above that is there."""
    return next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())


def available_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None
