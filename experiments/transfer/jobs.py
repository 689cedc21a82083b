"""The pieces of the experiment. Each writes its result as a whole and is skipped when that is there; for worker processes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.transfer.plan import Cell, Method, Plan
from experiments.transfer.record import FIRST_TRIAL_SEED, SceneOf, record, record_checks, shorten
from experiments.transfer.robots import HELD_OUT, PRETRAINED
from hpt_ros.demos import Demos
from hpt_ros.embodiment.columns import ActionKind
from hpt_ros.model import Checkpoint, PolicyConfig, PolicyRunner, load_checkpoint
from hpt_ros.sim.offline import OfflineScene
from hpt_ros.streams import Observation
from hpt_ros.training import FinetuneConfig, finetune
from hpt_ros.training.config import OptimizerConfig, ValidationConfig
from hpt_ros.training.pretraining import PretrainConfig, pretrain
from hpt_ros.training.windows import Windows, all_episodes

RESULT = "result.json"


class Jobs:
    """Where the pieces of one plan lie below `out`."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out = plan, out

    def domain(self, robot: str, task: str) -> Path:
        """Demonstrations to pre-train on."""
        return self.out / "demos" / f"{robot}_{task}"

    def held_out(self, count: int) -> Path:
        """Demonstrations of the held-out robot."""
        return self.out / "demos" / f"held_out_{self.plan.task}_{count}"

    @property
    def checks(self) -> Path:
        """Demonstrations of the held-out robot that nothing is trained on."""
        return self.out / "demos" / "checks"

    def trunk(self, seed: int) -> Path:
        """Pre-trained."""
        return self.out / f"pretrained_{seed % self.plan.pretrain_seeds}"

    def cell(self, cell: Cell) -> Path:
        """Run and result of a cell."""
        return self.out / "cells" / cell.name

    def record_domain(self, robot: str, task: str, kind: ActionKind) -> None:
        """Demonstrations of one domain."""
        scene = SceneOf(PRETRAINED[robot], task, self.plan.pixels, kind)
        record(self.domain(robot, task), scene, self.plan.demos_each)

    def record_held_out(self) -> None:
        """Demonstrations of the held-out robot; the smaller sets are the beginning of the largest, which is there last."""
        plan, most = self.plan, self.held_out(max(self.plan.counts))
        scene = SceneOf(HELD_OUT, plan.task, plan.pixels)
        record_checks(self.checks, scene, plan.check_demos)
        whole = most.with_name(f".{most.name}")
        record(whole, scene, max(plan.counts))
        for count in sorted(plan.counts):
            shorten(whole, self.held_out(count), count)
        shutil.rmtree(whole)

    def pretrain(self, seed: int) -> None:
        """The trunk."""
        plan = self.plan
        config = PretrainConfig(
            policy=policy_config(plan, "pretrained"),
            optimizer=OptimizerConfig(plan.lr, warmup_steps=50, weight_decay=1e-4, grad_clip=1.0),
            steps=plan.pretrain_steps,
            batch_size=plan.batch_size,
            draws=plan.draws,
            domains={f"{robot}_{task}": (str(self.domain(robot, task)),) for robot, task, _ in plan.pretrain_on},
            validation=ValidationConfig(fraction=0.1, every_steps=max(plan.pretrain_steps // 5, 1), max_windows=128),
            state_every_s=30.0,
        )
        pretrain(config, self.trunk(seed), seed=seed)

    def finetune(self, cell: Cell) -> None:
        """One policy, its trials, and its errors on demonstrations that it has not seen."""
        plan, folder = self.plan, self.cell(cell)
        config = FinetuneConfig(
            policy=policy_config(plan, cell.method),
            optimizer=OptimizerConfig(plan.lr, warmup_steps=50, weight_decay=1e-4, grad_clip=1.0),
            steps=plan.steps,
            batch_size=plan.batch_size,
            validation=ValidationConfig(fraction=0.0, every_steps=plan.steps),
            state_every_s=30.0,
        )
        trunk = self.trunk(cell.seed) / "last" if cell.method == "pretrained" else None
        run = folder / "run"
        if not run.exists():
            report = finetune(config, [self.held_out(cell.demos)], run, trunk=trunk, seed=cell.seed)
            outcome: dict[str, Any] = asdict(report.outcome)
            (folder / "outcome.json").write_text(json.dumps(outcome))
        outcome = json.loads((folder / "outcome.json").read_text())
        checkpoint = load_checkpoint(run / "last")
        result = asdict(cell) | {
            "loss": outcome["loss"],
            "duration_s": outcome["duration_s"],
            "error_mrad": action_error_mrad(checkpoint, self.checks),
            "trials": [asdict(outcome) for outcome in trials(checkpoint, plan)],
        }
        new = folder / f".{RESULT}"
        new.write_text(json.dumps(result, indent=1) + "\n")
        os.replace(new, folder / RESULT)
        for name in ("initial", "best"):
            shutil.rmtree(run / name, ignore_errors=True)


def policy_config(plan: Plan, method: Method) -> PolicyConfig:
    """The same network for all; without a trunk the head reads the stems' tokens."""
    return PolicyConfig(
        embed_dim=plan.embed_dim,
        num_blocks=0 if method == "no_trunk" else plan.num_blocks,
        image_tokens=plan.tokens,
        state_tokens=plan.tokens,
        dropout=0.0,
        drop_path=0.0,
    )


def trials(checkpoint: Checkpoint, plan: Plan) -> list[Any]:
    """Closed loop from random starts, the same for every cell."""
    runner = PolicyRunner(checkpoint, threads=1)

    def act(state: NDArray[np.float32], images: dict[str, NDArray[np.uint8]]) -> NDArray[np.float32]:
        return runner.act(Observation(0, state[None], {name: image[None] for name, image in images.items()}, {}))

    pixels = (plan.pixels, plan.pixels)
    with OfflineScene(plan.task, checkpoint.embodiment, pixels, variant=HELD_OUT.variant) as scene:
        return [scene.rollout(act, FIRST_TRIAL_SEED + trial) for trial in range(plan.trials)]


@torch.no_grad()
def action_error_mrad(checkpoint: Checkpoint, demos: Path) -> float:
    """Mean absolute error of the joints over the rows of all chunks."""
    windows = Windows(all_episodes([Demos.open(demos)]))
    batch = windows.batch(range(0, len(windows), 2))
    assert batch.action is not None
    assert batch.valid is not None
    error = (checkpoint.policy.predict(batch) - batch.action).abs()[..., :7]
    return float(error[batch.valid].mean() * 1000)
