"""Closed-loop trials in the simulator alone, many times faster than real time, in the files of `hpt-ros evaluate`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.evaluation.report import Evaluation, write_summary
from hpt_ros.evaluation.trials import Trial, TrialLog
from hpt_ros.model import PolicyRunner, load_checkpoint
from hpt_ros.sim.offline import OfflineScene
from hpt_ros.streams import Observation
from hpt_ros.streams.decode import fitted

Act = Callable[[NDArray[np.float32], dict[str, Any]], NDArray[np.floating]]
"""(state (8,), images {camera: (H, W, 3) uint8 RGB, of the embodiment's size}) -> chunk (rows, 8)."""


@dataclass(frozen=True)
class Contender:
    """A policy that is tried: how it acts, what to do before each trial, and what tells it from others in the files."""

    path: str
    weights_sha256: str
    act: Act
    begin: Callable[[int], object] = lambda index: None


@dataclass(frozen=True)
class OfflinePlan:
    """Scenes `seed`, `seed` + 1 ... of a task, as far as `trials` goes."""

    task: str
    trials: int
    seed: int
    variation: str = "none"


def offline_trials(checkpoint: Path, out: Path, plan: OfflinePlan) -> None:
    """Try a checkpoint, as `try_offline`."""
    loaded = load_checkpoint(checkpoint)
    runner = PolicyRunner(loaded, threads=1)
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()

    def act(state: NDArray[np.float32], images: dict[str, Any]) -> NDArray[np.float32]:
        return runner.act(Observation(0, state[None], {name: image[None] for name, image in images.items()}, {}))

    try_offline(Contender(str(checkpoint.resolve()), weights, act, runner.seed), loaded.embodiment, out, plan)


def try_offline(contender: Contender, embodiment: Embodiment, out: Path, plan: OfflinePlan) -> None:
    """Run what is missing; every row is on the disk before the next trial.

    Without latency, limiter or rows that are late: better than over topics, if anything.
    """
    with OfflineScene(plan.task, embodiment, variation=plan.variation) as scene:
        header = {
            "checkpoints": [{"path": contender.path, "weights_sha256": contender.weights_sha256}],
            **{"task": plan.task, "seed": plan.seed, "timeout_s": scene.world.task.time_limit_s},
            **{"simulated": True, "variation": plan.variation, "offline": True},
        }
        log = TrialLog(out / "trials.jsonl", header)
        for index in range(len(log.trials), plan.trials):
            contender.begin(index)
            log.append(_trial(contender, scene, plan.seed, index))
    write_summary(out / "summary.json", Evaluation(out, header, tuple(log.trials)))


def _trial(contender: Contender, scene: OfflineScene, seed: int, index: int) -> Trial:
    embodiment, latency_ms = scene.embodiment, list[float]()

    def act(state: NDArray[np.float32], images: dict[str, Any]) -> NDArray[np.floating]:
        began = time.perf_counter()
        chunk = contender.act(
            state, {camera.name: fitted(images[camera.name], camera) for camera in embodiment.cameras}
        )
        latency_ms.append((time.perf_counter() - began) * 1e3)
        return chunk

    outcome = scene.rollout(act, seed + index)
    p50, p99 = np.percentile(latency_ms, (50, 99))
    return Trial(
        index=index,
        seed=seed + index,
        score=float(outcome.success),
        termination="success" if outcome.success else "timeout",
        duration_s=round(outcome.elapsed_s, 3),
        policy_rate_hz=len(latency_ms) / outcome.elapsed_s,
        policy_latency_p50_ms=float(p50),
        policy_latency_p99_ms=float(p99),
        command_rate_hz=0.0,
        command_lateness_p99_ms=0.0,
        chunk_latency_p99_ms=0.0,
        stale_ticks=0,
        rows_late=0,
        real_time_factor=0.0,
        checkpoint=contender.weights_sha256,
        block=index,
        ended_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
