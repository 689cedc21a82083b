"""Trials in the simulator alone; the plans of the proof run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")

from experiments.offline_trials import OfflinePlan, offline_trials
from experiments.panda_lift.plan import full_plan, quick_plan
from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import DataError
from hpt_ros.evaluation.report import Evaluation
from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint
from hpt_ros.sim.tasks import TASKS
from hpt_ros.sim.variation import VARIATIONS

ROBOT = load_embodiment("sim_panda")


@pytest.fixture(autouse=True)
def _short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TASKS["reach"]), "time_limit_s", 0.6)


def test_a_checkpoint_is_tried_and_a_second_run_goes_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), ROBOT)
    rows = np.append(np.array(ROBOT.home_rad), 0.08) + np.random.default_rng(0).uniform(-0.02, 0.0, (50, 8))
    policy.scaling.fit(rows, rows)
    save_checkpoint(tmp_path / "last", policy.eval(), ROBOT, {})
    offline_trials(tmp_path / "last", tmp_path / "out", OfflinePlan("reach", 1, 7))
    offline_trials(tmp_path / "last", tmp_path / "out", OfflinePlan("reach", 2, 7))
    found = Evaluation.load(tmp_path / "out")
    assert [(trial.index, trial.seed, trial.score) for trial in found.trials] == [(0, 7, 0.0), (1, 8, 0.0)]
    assert found.trials[0].policy_latency_p50_ms > 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["trials"] == 2
    with pytest.raises(DataError, match="variation"):
        offline_trials(tmp_path / "last", tmp_path / "out", OfflinePlan("reach", 2, 7, "dim"))


@pytest.mark.parametrize("plan", [full_plan(), quick_plan()], ids=["full", "quick"])
def test_every_cell_can_be_run(plan) -> None:
    names = [cell.name for cell in plan.cells]
    assert len(set(names)) == len(names)
    for cell in plan.cells:
        assert cell.task in TASKS
        assert cell.variation in VARIATIONS
        assert cell.over == "dds" or cell.strategy == "receding_horizon", "strategies are the commander's"
    runs = {(c.run, c.preset, c.demos, json.dumps([dict(c.head), dict(c.augmentation)]), c.cameras) for c in plan.cells}
    assert len({run for run, *_ in runs}) == len(runs), "a run has one recipe"
