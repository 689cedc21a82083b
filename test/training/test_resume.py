"""An interrupted run goes on as if nothing had happened, or refuses and says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from hpt_ros.configuration import to_mapping
from hpt_ros.errors import DataError
from hpt_ros.model import HPTPolicy, PolicyConfig
from hpt_ros.training import DivergedError, FinetuneConfig, finetune
from hpt_ros.training.config import AugmentationConfig, ScoresConfig
from hpt_ros.training.loop import StepReport
from hpt_ros.training.state_file import ResumeError

STATE = "state.safetensors"


@pytest.fixture
def everything(config: FinetuneConfig) -> FinetuneConfig:
    """Settings with whatever is random in training, the average of the weights and two rates; state after every step."""
    policy = PolicyConfig(embed_dim=32, num_blocks=2, num_heads=4, dropout=0.2, drop_path=0.2, modality_dropout=0.3)
    return replace(
        config,
        policy=policy,
        optimizer=replace(config.optimizer, trunk_lr=3e-4, ema_decay=0.9),
        scores=ScoresConfig(exponent=1.0),
        augmentation=AugmentationConfig(shift=0.05, brightness=0.2),
        steps=60,
        state_every_s=0.0,
    )


def stored_step(out: Path) -> int:
    """After how many steps the state on the disk was written; -1: there is none."""
    state = out.with_name(f"{out.name}.partial") / STATE
    try:
        with state.open("rb") as file:  # one opened file: another takes its name meanwhile
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except FileNotFoundError:
        return -1
    return int(json.loads(header["__metadata__"]["track"])["step"])


def figures(out: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what a clock tells."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    timed = ("samples_per_s", "eta_s", "phases")
    return [{key: value for key, value in line.items() if key not in timed} for line in lines]


def test_a_killed_command_goes_on_to_the_same_weights(everything: FinetuneConfig, folder: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(to_mapping(everything)))
    options = ["--preset", str(settings), "--threads", "1", "--device", "cpu", "--seed", "3"]

    def start(out: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hpt_ros.cli.main", "finetune", str(folder), "--out", str(out), *options]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    running = start(whole)
    for at_least in (7, 31):
        killed = start(broken)
        while stored_step(broken) < at_least:
            assert killed.poll() is None
            time.sleep(0.01)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert not broken.exists()
    said = start(broken).communicate()[1]
    assert "going on after step" in said
    running.communicate()
    for name in ("initial", "best", "last"):
        before, after = (out / name / "model.safetensors" for out in (whole, broken))
        assert before.read_bytes() == after.read_bytes(), name
    assert figures(broken) == figures(whole)
    assert len(figures(whole)) == 6
    assert not (broken / STATE).exists()


@pytest.fixture
def interrupted(everything: FinetuneConfig, folder: Path, tmp_path: Path) -> Path:
    """Where a run was interrupted after 15 steps."""

    def interrupt(report: StepReport) -> None:
        if report.step == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(everything, [folder], tmp_path / "run", progress=interrupt)
    assert stored_step(tmp_path / "run") == 15
    return tmp_path / "run"


def test_another_setting_seed_or_data_is_refused_with_the_difference(
    everything: FinetuneConfig, folder: Path, interrupted: Path
) -> None:
    def refused(config: FinetuneConfig, **options: Any) -> str:
        with pytest.raises(ResumeError) as error:
            finetune(config, [folder], interrupted, **options)
        assert stored_step(interrupted) == 15
        return str(error.value)

    faster = replace(everything, optimizer=replace(everything.optimizer, lr=2e-3), batch_size=8)
    said = refused(faster)
    assert "settings.optimizer.lr: then 0.001, now 0.002" in said
    assert "settings.batch_size: then 16, now 8" in said
    assert "seed: then 0, now 1" in refused(everything, seed=1)
    front = np.load(folder / "images" / "front.npy")
    front[40, 3, 3, 0] ^= 1
    np.save(folder / "images" / "front.npy", front)
    assert "images" in refused(everything)
    finetune(replace(faster, steps=2), [folder], interrupted, overwrite=True)
    assert interrupted.is_dir()


def test_a_run_that_has_just_begun_is_not_given_up_for_another(
    everything: FinetuneConfig, folder: Path, tmp_path: Path
) -> None:
    def interrupt(report: StepReport) -> None:
        if report.step == 2:
            raise KeyboardInterrupt

    config = replace(everything, state_every_s=1e9)
    with pytest.raises(KeyboardInterrupt):
        finetune(config, [folder], tmp_path / "run", progress=interrupt)
    assert stored_step(tmp_path / "run") == 1
    with pytest.raises(ResumeError, match="batch_size: then 16, now 8"):
        finetune(replace(config, batch_size=8), [folder], tmp_path / "run")


def test_a_damaged_state_is_refused(everything: FinetuneConfig, folder: Path, interrupted: Path) -> None:
    state = interrupted.with_name("run.partial") / STATE
    state.write_bytes(state.read_bytes()[:-50])
    with pytest.raises(DataError, match="--overwrite"):
        finetune(everything, [folder], interrupted)


def test_a_loss_that_is_not_finite_names_the_windows_and_keeps_the_last_good_state(
    everything: FinetuneConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = np.load(folder / "state.npy")
    intact, marked = HPTPolicy.loss_of, torch.from_numpy(state[17])

    def poisoned(self: HPTPolicy, features: Any, batch: Any) -> torch.Tensor:
        bad = (batch.state[:, -1] == marked).all(dim=1).any() & (seen["step"] >= 20)
        return intact(self, features, batch) * torch.where(bad, torch.nan, 1.0)

    seen = {"step": 0}
    monkeypatch.setattr(HPTPolicy, "loss_of", poisoned)
    config = replace(everything, state_every_s=1e9)
    with pytest.raises(DivergedError, match=r"episode episode_12, tick 5 of 12") as error:
        finetune(config, [folder], tmp_path / "run", progress=lambda report: seen.update(step=report.step))
    assert f"step {seen['step'] + 1}: loss nan" in str(error.value)
    assert stored_step(tmp_path / "run") == seen["step"]
