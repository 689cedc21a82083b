"""What a run tells: to TensorBoard, to a person, and on its page."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hpt_ros.errors import MissingDependencyError
from hpt_ros.model import HPTPolicy
from hpt_ros.training import FinetuneConfig, finetune
from hpt_ros.training.finetuning import Plan
from hpt_ros.training.loop import StepReport
from hpt_ros.training.optimization import Optimization, parameter_groups
from hpt_ros.training.remarks import OverfitWatch
from hpt_ros.training.trackers import Tracking


class FakeWriter:
    """Of tensorboardX: remembers what it is told."""

    told: list[tuple[str, float, int]]

    def __init__(self, folder: str, purge_step: int | None) -> None:
        FakeWriter.told, self.folder = [], folder
        assert purge_step is None

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.told.append((name, value, step))

    def close(self) -> None:
        self.told.append(("closed", 0.0, 0))


def test_tensorboard_gets_losses_rates_and_errors(
    config: FinetuneConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", type("Module", (), {"SummaryWriter": FakeWriter}))
    plans: list[Plan] = []
    options: dict[str, Any] = {"tracking": Tracking(tensorboard=True), "planned": plans.append}
    finetune(replace(config, steps=10), [folder], tmp_path / "run", **options)
    told = {name: step for name, _, step in FakeWriter.told}
    assert told["loss/training"] == told["loss/held_out"] == told["learning_rate"] == 10
    assert {"time_share/data", "time_share/backward", "error/panda_joint1", "closed"} <= told.keys()
    (plan,) = plans
    assert (plan.episodes, plan.held_out_episodes, plan.windows, plan.done) == (8, 2, 96, 0)
    assert plan.trunk.source == "none"


@pytest.mark.parametrize("tracking", [Tracking(tensorboard=True), Tracking(wandb="project")])
def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_written(
    config: FinetuneConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking: Tracking
) -> None:
    for module in ("tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        finetune(config, [folder], tmp_path / "run", tracking=tracking)
    assert not (tmp_path / "run.partial").exists()


def test_dead_dimensions_and_a_frozen_random_trunk_are_said(
    config: FinetuneConfig, demos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demos.command[:, 2] = 0.25
    monkeypatch.setattr("hpt_ros.training.finetuning.Demos.open", lambda _: demos)
    plans: list[Plan] = []
    finetune(replace(config, steps=1, freeze="all"), [Path("memory")], tmp_path / "run", planned=plans.append)
    said = plans[0].remarks
    assert any("action panda_joint3 never changes (always 0.25)" in remark for remark in said)
    assert any("values are random" in remark for remark in said)
    assert len(said) == 2


def test_overfitting_is_said_once() -> None:
    watch = OverfitWatch()
    said = [
        watch(StepReport(step, 9, loss, val_loss, 0, 1, 1))
        for step, (loss, val_loss) in enumerate([(3, 2.0), (2, 1.0), (1.5, 1.2), (1.0, 1.4), (0.5, 2.0)])
    ]
    assert [bool(sentence) for sentence in said] == [False, False, False, True, False]
    assert not OverfitWatch()(StepReport(1, 9, 1.0, None, 0, 1, 1))


def test_groups_have_their_rates_and_norms_biases_and_tokens_no_decay(config: FinetuneConfig, embodiment: Any) -> None:
    policy = HPTPolicy(config.policy, embodiment)
    names = {id(p): name for name, p in policy.named_parameters()}
    groups = parameter_groups(dict(policy.named_parameters()), replace(config.optimizer, trunk_lr=1e-5))
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert found.keys() == set(names.values())
    block = "trunk.trunk.blocks.0"
    assert found[f"{block}.attn.in_proj_weight"] == (1e-5, 1e-4)
    assert found[f"{block}.attn.bias_k"] == found[f"{block}.norm_1.weight"] == (1e-5, 0.0)
    assert found["stems.sim_panda_image.net.0.weight"] == (1e-3, 1e-4)
    assert found["stems.sim_panda_image.tokens"] == found["stems.sim_panda_image.net.0.bias"] == (1e-3, 0.0)


def test_averages_follow_the_weights_and_are_served(config: FinetuneConfig) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimization = Optimization(replace(config.optimizer, ema_decay=0.5, warmup_steps=0), 100, [("x", parameter)])
    seen, average = [], torch.zeros(3)
    for step in range(4):
        parameter.grad = torch.ones(3)
        optimization.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * parameter.detach()
        seen.append(parameter.detach().clone())
    with optimization.served():
        assert torch.allclose(parameter, average)
    assert torch.equal(parameter, seen[-1])
