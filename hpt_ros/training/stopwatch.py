"""Where the time of a step goes."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Seconds by phase; on a GPU each lap waits for what was queued."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def lap(self, phase: str) -> None:
        """The time since the last lap was spent on `phase`."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._began
        self._began = now
