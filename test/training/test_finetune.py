from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpt_ros.errors import BusyError, DataError
from hpt_ros.model import HPTPolicy, load_checkpoint
from hpt_ros.model.trunk import Trunk
from hpt_ros.training import DivergedError, FinetuneConfig, RunReport, finetune
from hpt_ros.training.learner import Validation
from hpt_ros.training.loop import StepReport
from hpt_ros.training.optimization import schedule
from hpt_ros.training.run_folder import RunFolder


@pytest.fixture
def run(demos: Any, config: FinetuneConfig, monkeypatch: pytest.MonkeyPatch) -> Any:
    """finetune() on the demonstrations in memory."""
    monkeypatch.setattr("hpt_ros.training.finetuning.Demos.open", lambda _: demos)

    def start(out: Path, config: FinetuneConfig = config, **options: Any) -> RunReport:
        return finetune(config, [Path("memory")], out, **options)

    return start


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_training_lowers_the_loss_on_held_out_episodes(run: Any, config: FinetuneConfig, tmp_path: Path) -> None:
    seen: list[StepReport] = []
    report = run(tmp_path / "run", replace(config, steps=150), progress=seen.append)
    validated = [s.val_loss for s in seen if s.val_loss is not None]
    assert validated[-1] < 0.5 * validated[0]
    assert seen[-1].loss < 0.3 * seen[0].loss
    assert (report.episodes, report.held_out_episodes, report.windows) == (8, 2, 96)
    assert [s.step for s in seen] == list(range(1, 151))


def test_run_folder_is_complete(run: Any, tmp_path: Path, demos: Any) -> None:
    run(tmp_path / "run", seed=7)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["best", "initial", "last", "metrics.jsonl", "report.json"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert all(line["val_loss"] > 0 for line in lines)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    last = load_checkpoint(tmp_path / "run" / "last")
    assert report["outcome"]["loss"] == last.provenance["metrics"]["loss"] == lines[-1]["loss"]
    assert last.provenance["seed"] == 7
    assert last.provenance["trunk"]["source"] == "none"
    assert last.embodiment == demos.embodiment
    initial = load_checkpoint(tmp_path / "run" / "initial").policy
    assert torch.equal(initial.scaling.action.scale, last.policy.scaling.action.scale)
    assert weights(tmp_path / "run" / "initial") != weights(tmp_path / "run" / "last")


def test_same_seed_gives_equal_weights_and_another_seed_others(run: Any, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(3)  # what ran before must not matter
        run(tmp_path / name, seed=seed)
    assert weights(tmp_path / "a" / "last") == weights(tmp_path / "b" / "last")
    assert weights(tmp_path / "a" / "last") != weights(tmp_path / "c" / "last")


def test_the_callers_random_numbers_are_left_alone(run: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    run(tmp_path / "run", seed=3)
    assert torch.equal(torch.rand(1), expected)


def test_normaliser_is_fitted_on_the_training_episodes_alone(run: Any, tmp_path: Path, demos: Any) -> None:
    demos.command[-12:] = 9.0
    demos.state[-12:] = 9.0
    run(tmp_path / "with", seed=0)
    held = load_checkpoint(tmp_path / "with" / "last").policy.scaling.action.input_stats.max
    splits = {seed: np.random.default_rng(seed).permutation(10)[:2] for seed in range(50)}
    seed = next(seed for seed, chosen in splits.items() if 9 in chosen)
    run(tmp_path / "without", seed=seed)
    without = load_checkpoint(tmp_path / "without" / "last").policy.scaling.action.input_stats.max
    assert held.max() == 9.0
    assert without.max() < 1.0


def test_best_is_the_lowest_validation_loss_and_last_without_validation(
    run: Any, config: FinetuneConfig, demos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.3, 0.1, 0.2])
    monkeypatch.setattr("hpt_ros.training.learner.Learner.validate", lambda *_: Validation(next(losses)))
    report = run(tmp_path / "held_out")
    assert (report.outcome.best_step, report.outcome.best_val_loss) == (20, 0.1)
    assert load_checkpoint(tmp_path / "held_out" / "best").provenance["metrics"]["step"] == 20
    assert load_checkpoint(tmp_path / "held_out" / "last").provenance["metrics"]["step"] == 30
    monkeypatch.undo()
    monkeypatch.setattr("hpt_ros.training.finetuning.Demos.open", lambda _: demos)
    run(tmp_path / "none", replace(config, validation=replace(config.validation, fraction=0.0)))
    assert weights(tmp_path / "none" / "best") == weights(tmp_path / "none" / "last")


def test_existing_run_is_kept_unless_overwrite_is_said(run: Any, tmp_path: Path) -> None:
    run(tmp_path / "run", seed=1)
    before = weights(tmp_path / "run" / "last")
    with pytest.raises(BusyError, match="exists"):
        run(tmp_path / "run", seed=2)
    assert weights(tmp_path / "run" / "last") == before
    run(tmp_path / "run", seed=2, overwrite=True)
    assert weights(tmp_path / "run" / "last") != before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_two_runs_cannot_write_to_one_folder(run: Any, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", overwrite=False), pytest.raises(BusyError, match="another run"):
        run(tmp_path / "run")


def test_interrupted_run_keeps_complete_checkpoints_under_another_name(run: Any, tmp_path: Path) -> None:
    def interrupt(report: StepReport) -> None:
        if report.step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", progress=interrupt)
    assert not (tmp_path / "run").exists()
    assert load_checkpoint(tmp_path / "run.partial" / "last").provenance["metrics"]["step"] == 10
    run(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_loss_that_is_not_finite_stops_with_the_step(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    intact = HPTPolicy.loss_of
    calls = iter(range(100))

    def poisoned(self: HPTPolicy, features: Any, batch: Any) -> torch.Tensor:
        return intact(self, features, batch) * (float("nan") if len(batch.state) > 2 and next(calls) == 4 else 1.0)

    monkeypatch.setattr(HPTPolicy, "loss_of", poisoned)
    with pytest.raises(DivergedError, match="step 5: loss nan"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_trunk_of_the_run_is_the_file(run: Any, config: FinetuneConfig, tmp_path: Path) -> None:
    torch.manual_seed(11)
    trunk = Trunk(32, 1, 4, 0.1).state_dict()
    torch.save(trunk, tmp_path / "trunk.pth")
    report = run(tmp_path / "run", trunk=tmp_path / "trunk.pth")
    initial = load_checkpoint(tmp_path / "run" / "initial")
    assert all(torch.equal(tensor, trunk[name]) for name, tensor in initial.policy.trunk.state_dict().items())
    records = initial.provenance["trunk"]["tensors"]
    assert {name: (r["status"], r["shape"]) for name, r in records.items()} == {
        name: ("loaded", list(tensor.shape)) for name, tensor in trunk.items()
    }
    assert report.trunk.source == str(tmp_path / "trunk.pth")


def test_unusable_trunk_is_refused_before_anything_is_written(run: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trunk"):
        run(tmp_path / "run", trunk=tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_parameter_table_counts_what_is_trained(run: Any, config: FinetuneConfig, tmp_path: Path) -> None:
    encoder = replace(config.policy.encoder, kind="resnet18", weights="random")
    frozen = replace(config, steps=1, batch_size=2, policy=replace(config.policy, encoder=encoder))
    parameters = run(tmp_path / "run", frozen).parameters
    assert parameters["encoder"] == {"total": 11_689_512, "trained": 0}  # torchvision's published count
    assert parameters["trunk"]["total"] == parameters["trunk"]["trained"] > 0


def test_learning_rate_warms_up_and_falls_to_zero(config: FinetuneConfig) -> None:
    rates = [config.optimizer.lr * schedule(config.optimizer, config.steps, step) for step in range(config.steps + 1)]
    assert rates[:5] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3])
    assert rates[5] == pytest.approx(1e-3)
    assert all(a > b for a, b in pairwise(rates[5:]))
    assert rates[-1] == pytest.approx(0)
