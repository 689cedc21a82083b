"""Closed-loop trials in the simulator alone, many times faster than real time, in the files of `hpt-ros evaluate`."""

from __future__ import annotations

import hashlib
import time
from collections import deque
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


@dataclass(frozen=True)
class OfflinePlan:
    """Scenes `seed`, `seed` + 1 ... of a task, as far as `trials` goes."""

    task: str
    trials: int
    seed: int
    variation: str = "none"


class Network:
    """A checkpoint that is fed without ROS; its history begins with the first sample repeated."""

    def __init__(self, runner: PolicyRunner, robot: Embodiment) -> None:
        self._runner, self._cameras = runner, robot.cameras
        self._seen: deque[tuple[NDArray[np.float32], dict[str, Any]]] = deque(maxlen=robot.policy.observation_horizon)

    def act(self, state: NDArray[np.float32], images: dict[str, Any]) -> NDArray[np.floating]:
        """The chunk (rows, P) of the state (8,) and the images that the cameras give now."""
        sample = state, {camera.name: fitted(images[camera.name], camera) for camera in self._cameras}
        self._seen.extend([sample] * max(1, (self._seen.maxlen or 1) - len(self._seen)))
        frames = {camera.name: np.stack([views[camera.name] for _, views in self._seen]) for camera in self._cameras}
        return self._runner.act(Observation(0, np.stack([state for state, _ in self._seen]), frames, {}))


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
    network, latency_ms = Network(runner, scene.embodiment), list[float]()

    def act(state: NDArray[np.float32], images: dict[str, Any]) -> NDArray[np.floating]:
        began = time.perf_counter()
        chunk = network.act(state, images)
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
