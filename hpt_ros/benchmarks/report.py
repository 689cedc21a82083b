"""What every benchmark reports."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import hpt_ros

_PACKAGES = ("numpy", "torch", "rosbags", "opencv-python-headless", "mujoco-core", "ruckig", "ros-rclpy")


@dataclass(frozen=True)
class Goal:
    """A figure that must be reached: `found` against `limit`, and which side is good."""

    what: str
    found: float
    limit: float
    at_most: bool = True

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.found <= self.limit if self.at_most else self.found >= self.limit


@dataclass(frozen=True)
class BenchReport:
    """Rows of figures (one table), ratios against the baseline that their names tell, goals, and what the figures do not say."""

    name: str
    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    ratios: dict[str, float] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_mapping(self) -> dict[str, Any]:
        """Plain JSON data, with machine and versions."""
        goals = [asdict(goal) | {"reached": goal.reached} for goal in self.goals]
        return asdict(self) | {"goals": goals, "machine": machine(), "versions": versions()}


def percentiles_ms(samples_s: Iterable[float]) -> dict[str, float]:
    """p50, p95, p99 and max of durations [s], in ms."""
    values = np.asarray(list(samples_s)) * 1e3
    marks = zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), np.percentile(values, (50, 95, 99, 100)), strict=True)
    return {name: round(float(value), 3) for name, value in marks}


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system."""
    return {
        "processor": _proc("cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int((_proc("meminfo", "MemTotal") or "0 kB").split()[0]) / 1e6, 1),
        "system": platform.platform(),
        "load": [round(x, 2) for x in os.getloadavg()],
    }


def versions() -> dict[str, str]:
    """Of this package, Python and what the figures depend on; what is not installed is left out."""
    found = {"hpt_ros": hpt_ros.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _proc(file: str, key: str) -> str:
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
