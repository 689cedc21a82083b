"""Closed-loop trials in the simulator alone, many times faster than real time, in the files of `hpt-ros evaluate`."""

from __future__ import annotations

import hashlib
import time
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


def offline_trials(checkpoint: Path, out: Path, task: str, trials: int, seed: int, variation: str = "none") -> None:
    """Run what is missing to `trials`, from the scenes `seed`, `seed` + 1 ...; every row is on the disk before the next.

    Without latency, limiter or rows that are late: better than over topics, if anything.
    """
    loaded = load_checkpoint(checkpoint)
    runner = PolicyRunner(loaded, threads=1)
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    with OfflineScene(task, loaded.embodiment, variation=variation) as scene:
        header = {
            "checkpoints": [{"path": str(checkpoint.resolve()), "weights_sha256": weights}],
            **{"task": task, "seed": seed, "timeout_s": scene.world.task.time_limit_s},
            **{"simulated": True, "variation": variation, "offline": True},
        }
        log = TrialLog(out / "trials.jsonl", header)
        cameras = loaded.embodiment.cameras
        latency_ms: list[float] = []

        def act(state: NDArray[np.float32], images: dict[str, Any]) -> NDArray[np.float32]:
            began = time.perf_counter()
            views = {camera.name: fitted(images[camera.name], camera)[None] for camera in cameras}
            chunk = runner.act(Observation(0, state[None], views, {}))
            latency_ms.append((time.perf_counter() - began) * 1e3)
            return chunk

        for index in range(len(log.trials), trials):
            latency_ms.clear()
            runner.seed(index)
            outcome = scene.rollout(act, seed + index)
            p50, p99 = np.percentile(latency_ms, (50, 99))
            log.append(
                Trial(
                    index=index,
                    seed=seed + index,
                    score=float(outcome.success),
                    termination="success" if outcome.success else "timeout",
                    duration_s=round(outcome.elapsed_s, 3),
                    policy_rate_hz=loaded.embodiment.policy.rate_hz / loaded.embodiment.policy.execute_rows,
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
            )
    write_summary(out / "summary.json", Evaluation(out, header, tuple(log.trials)))
