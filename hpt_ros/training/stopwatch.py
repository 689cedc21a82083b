"""Where the time of a step goes."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Seconds by phase: on a GPU of its own clock, so that the processor may run ahead of it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._laps: list[tuple[str, float | torch.cuda.Event]] = []
        self._began = self._now()

    def lap(self, phase: str) -> None:
        """The time since the last lap was spent on `phase`."""
        self._laps.append((phase, self._now()))

    @property
    def seconds(self) -> dict[str, float]:
        """What was spent on each phase so far; waits until a GPU has come to the last lap."""
        found: dict[str, float] = {}
        before = self._began
        for phase, now in self._laps:
            found[phase] = found.get(phase, 0.0) + _between(before, now)
            before = now
        return found

    def _now(self) -> float | torch.cuda.Event:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


def _between(before: float | torch.cuda.Event, after: float | torch.cuda.Event) -> float:
    if isinstance(before, float) or isinstance(after, float):
        return float(after) - float(before)  # type: ignore[arg-type]
    after.synchronize()
    return float(before.elapsed_time(after)) / 1e3
