"""Where the time of a policy step goes, and a process that disturbs it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn

from hpt_ros.benchmarks.report import percentiles_ms

PHASES = ("encode", "stem", "trunk", "head")


class Stopwatch:
    """Times steps and the stems, trunk and head inside them; the rest of a step is called encode, decoding is apart."""

    def __init__(self, stems: nn.Module, trunk: nn.Module, head: nn.Module) -> None:
        self._began: dict[str, float] = {}
        self._now: dict[str, float] = {}
        self.steps: list[dict[str, float]] = []
        stages = [("stem", stem) for stem in stems.children()] + [("trunk", trunk)]
        stages += [("head", child) for child in head.children()]
        for phase, module in stages:
            module.register_forward_pre_hook(self._starts(phase))
            module.register_forward_hook(self._ends(phase))

    def step(self, act: Callable[[], object], decode_s: float) -> None:
        """Run one step [s]; `decode_s` is what its frames took before."""
        self._now = dict.fromkeys(PHASES[1:], 0.0)
        began = time.perf_counter()
        act()
        step_s = time.perf_counter() - began
        encode_s = step_s - sum(self._now.values())
        self.steps.append({"decode": decode_s, "encode": encode_s, **self._now, "step": step_s})

    def p50_s(self, *phases: str) -> float:
        """Median of the sum of some phases, or of `step`."""
        return float(np.median([sum(step[phase] for phase in phases) for step in self.steps]))

    def row(self) -> dict[str, float]:
        """Percentiles of the step without decoding, and the median of each phase [ms]."""
        phases = {f"{phase}_ms": round(self.p50_s(phase) * 1e3, 2) for phase in ("decode", *PHASES)}
        return percentiles_ms(step["step"] for step in self.steps) | phases

    def _starts(self, phase: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self._began[phase] = time.perf_counter()

        return hook

    def _ends(self, phase: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self._now[phase] = self._now.get(phase, 0.0) + time.perf_counter() - self._began[phase]

        return hook


@contextmanager
def busy_process() -> Iterator[None]:
    """A process that keeps one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()
