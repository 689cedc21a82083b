"""Processes that a benchmark runs and watches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpt_ros.errors import HptRosError

_WARM_UP = 0.2


@dataclass
class Watched:
    """A process with its use of processor [s] and memory [MB], sampled over time."""

    process: subprocess.Popen[str]
    samples: list[tuple[float, float, float]] = field(default_factory=list)

    def sample(self) -> None:
        """Note time, processor time and resident memory now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])  # utime, stime: proc(5)
        resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        self.samples.append((time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), resident / 1e6))

    def row(self, name: str) -> dict[str, Any]:
        """Share of one core and memory, over the time after the warm-up; growth is to the peak."""
        settled = self.samples[round(_WARM_UP * len(self.samples)) :]
        (start_s, start_cpu, start_mb), (end_s, end_cpu, _) = settled[0], settled[-1]
        percent = 100 * (end_cpu - start_cpu) / (end_s - start_s)
        growth_mb = max(sample[2] for sample in settled) - start_mb
        return {
            "what": name,
            "cpu_percent": round(percent, 1),
            "memory_mb": round(start_mb, 1),
            "growth_mb": round(growth_mb, 1),
            "slope_mb_h": round(self._slope_mb_h(settled), 1),
        }

    def memory_every(self, period_s: float) -> list[float]:
        """Resident memory [MB] in steps of at least `period_s`."""
        found, due_s = [], -float("inf")
        for at_s, _, resident_mb in self.samples:
            if at_s >= due_s:
                found.append(round(resident_mb, 1))
                due_s = at_s + period_s
        return found

    @staticmethod
    def _slope_mb_h(samples: list[tuple[float, float, float]]) -> float:
        """By least squares; 0 for a single sample."""
        at_s, _, resident_mb = np.array(samples).T
        from_middle_s = at_s - at_s.mean()
        return 3600 * float(from_middle_s @ resident_mb) / max(float(from_middle_s @ from_middle_s), 1e-9)


@contextmanager
def process(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m module` with pipes for input and output, ended with the block."""
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


def require_alive(watched: dict[str, Watched]) -> None:
    """Refuse to measure without one of them.

    Raises:
        HptRosError: one has ended.
    """
    for name, item in watched.items():
        if (code := item.process.poll()) is not None:
            raise HptRosError(f"the {name} process ended with code {code}", "see its message above")
