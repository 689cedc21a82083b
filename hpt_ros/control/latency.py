"""How long each stage of a chunk's way takes, from the camera to the arm: percentiles over a window, never a maximum since start-up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hpt_ros.control.pacing import Window

OBSERVING = ("capture", "observation", "inference")
"""Image taken -> tick -> observation aligned and decoded -> rows computed, by the policy."""
STAGES = (*OBSERVING, "arrival", "due")
"""The commander goes on: -> chunk received -> its first live row due."""


class StageLatency:
    """Durations [s] of `stages` over the last `window_s` seconds; one thread adds, any thread reads."""

    def __init__(self, stages: Sequence[str], window_s: float) -> None:
        self.stages = tuple(stages)
        self._windows = {stage: Window(window_s) for stage in stages}

    def add(self, durations_s: Mapping[str, float]) -> None:
        """One chunk's. A stage that was not measured is left out; a number that is none counts as not measured."""
        for stage, duration_s in durations_s.items():
            if math.isfinite(duration_s):
                self._windows[stage].add(duration_s)

    def percentiles_ms(self, percent: float) -> list[float]:
        """One value per stage; 0 where the window is empty."""
        return [self._windows[stage].percentile(percent) * 1e3 for stage in self.stages]
