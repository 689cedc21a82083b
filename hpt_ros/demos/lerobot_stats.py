"""Statistics of a LeRobot feature: min, max, mean, std, count and five quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}

Stats = dict[str, Any]
"""By statistic: a list of numbers, shaped as LeRobot expects it for the kind of feature."""


def vector_stats(rows: NDArray[Any]) -> Stats:
    """Per column of (N, D) or of (N,) taken as one column."""
    columns = rows.reshape(len(rows), -1).astype(np.float64)
    stats = {
        "min": columns.min(0),
        "max": columns.max(0),
        "mean": columns.mean(0),
        "std": columns.std(0),
        "count": np.array([len(rows)]),
    }
    stats |= dict(zip(_QUANTILES, np.quantile(columns, list(_QUANTILES.values()), axis=0), strict=True))
    return {name: values.tolist() for name, values in stats.items()}


class ImageStats:
    """Per channel, over every pixel of the frames added, scaled to 0 .. 1 and shaped (3, 1, 1).

    A count per pixel value holds all that is asked for, whatever the number of frames, and those of episodes add up.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), dtype=np.int64)
        self._frames = 0

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Count one frame (H, W, 3)."""
        for channel in range(3):
            self._counts[channel] += np.bincount(frame[..., channel].reshape(-1), minlength=256)
        self._frames += 1

    def merge(self, other: ImageStats) -> None:
        """Add the frames of another episode."""
        self._counts += other._counts
        self._frames += other._frames

    def to_stats(self) -> Stats:
        """The statistics of at least one frame."""
        levels = np.arange(256) / 255
        share = self._counts / self._counts.sum(1, keepdims=True)
        present = self._counts > 0
        mean = share @ levels
        up_to = np.cumsum(self._counts, axis=1)
        stats = {
            "min": levels[present.argmax(1)],
            "max": levels[255 - present[:, ::-1].argmax(1)],
            "mean": mean,
            "std": np.sqrt((share * (levels - mean[:, None]) ** 2).sum(1)),
        }
        for name, quantile in _QUANTILES.items():
            wanted = quantile * up_to[:, -1:]
            stats[name] = levels[(up_to >= wanted * (1 - 1e-12)).argmax(1)]
        return {name: values.reshape(3, 1, 1).tolist() for name, values in stats.items()} | {"count": [self._frames]}
