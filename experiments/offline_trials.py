"""Closed-loop trials in the simulator alone, many times faster than real time, in the files of `hpt-ros evaluate`."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.evaluation.report import Evaluation, write_summary
from hpt_ros.evaluation.trials import Trial, TrialLog
from hpt_ros.model import PolicyRunner, load_checkpoint
from hpt_ros.sim.offline import OfflineScene
from hpt_ros.streams import Observation
from hpt_ros.streams.decode import fitted


@dataclass(frozen=True)
class OfflinePlan:
    """Scenes `seed`, `seed` + 1 ... of a task, as far as `trials` goes."""

    task: str
    trials: int
    seed: int
    variation: str = "none"


def offline_trials(checkpoint: Path, out: Path, plan: OfflinePlan) -> None:
    """Run what is missing; every row is on the disk before the next trial.

    Without latency, limiter or rows that are late: better than over topics, if anything.
    """
    loaded = load_checkpoint(checkpoint)
    runner = PolicyRunner(loaded, threads=1)
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    with OfflineScene(plan.task, loaded.embodiment, variation=plan.variation) as scene:
        header = {
            "checkpoints": [{"path": str(checkpoint.resolve()), "weights_sha256": weights}],
            **{"task": plan.task, "seed": plan.seed, "timeout_s": scene.world.task.time_limit_s},
            **{"simulated": True, "variation": plan.variation, "offline": True},
        }
        log = TrialLog(out / "trials.jsonl", header)
        for index in range(len(log.trials), plan.trials):
            runner.seed(index)
            log.append(_trial(runner, weights, scene, plan.seed, index))
    write_summary(out / "summary.json", Evaluation(out, header, tuple(log.trials)))


def _trial(runner: PolicyRunner, weights: str, scene: OfflineScene, seed: int, index: int) -> Trial:
    embodiment, latency_ms = scene.embodiment, list[float]()

    def act(state: NDArray[np.float32], images: dict[str, Any]) -> NDArray[np.floating]:
        began = time.perf_counter()
        frames = {camera.name: fitted(images[camera.name], camera)[None] for camera in embodiment.cameras}
        chunk = runner.act(Observation(0, state[None], frames, {}))
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
        checkpoint=weights,
        block=index,
        ended_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
