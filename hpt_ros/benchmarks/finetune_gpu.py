"""The part of `bench finetune` that a GPU takes: steps a second, and the published 20 000 iterations by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from hpt_ros.benchmarks.finetune_scene import Scene
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal
from hpt_ros.training.config import ComputeConfig

ITERATIONS, WITHIN_MIN = 20_000, 10.0  # arXiv 2409.20537, section 5.2: iterations; and this package's goal
WARM_UP, STEPS, QUICK_STEPS = 20, 200, 20
KINDS = {
    "fp32": ComputeConfig("fp32"),
    "bf16": ComputeConfig("bf16"),
    "bf16, compiled": ComputeConfig("bf16", compile=True),
}


def on_gpu(folder: Path, batch: int, quick: bool, report: BenchReport, say: Say) -> None:
    """Adds rows for each kind of arithmetic, with the features on the GPU and streamed to it; unless quick, all iterations, compiled."""
    device = torch.device("cuda")
    report.settings["gpu"] = torch.cuda.get_device_name(device)
    scene = Scene(folder, batch)
    for place, room_bytes in (("streamed", 0), ("on the GPU", 2**62)):
        scene.features.place(device, room_bytes)
        for name, compute in KINDS.items():
            say(f"GPU, {name}, features {place}")
            step = scene.learner(scene.policy(frozen=True).to(device), compute, batch).step
            _seconds(step, WARM_UP)
            count = QUICK_STEPS if quick else STEPS
            step_s = _seconds(step, count) / count
            figures = {"s/step": round(step_s, 5), "samples/s": round(batch / step_s)}
            report.rows.append({"what": f"GPU, {name}, features {place}"} | figures)
    if not quick:
        kind = "bf16, compiled"
        say(f"GPU, {ITERATIONS} iterations, {kind}")
        took_s = _seconds(scene.learner(scene.policy(frozen=True).to(device), KINDS[kind], batch).step, ITERATIONS)
        report.goals.append(Goal(f"GPU: {ITERATIONS} iterations, {kind} [min]", round(took_s / 60, 2), WITHIN_MIN))


def _seconds(step: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        step()  # gives its loss as a number, so it is over
    return time.perf_counter() - began
