"""Fine-tuning on a GPU: what a CPU gives, wherever the features lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpt_ros.model import EncoderConfig, load_checkpoint
from hpt_ros.training import FinetuneConfig, finetune
from hpt_ros.training.config import ComputeConfig
from hpt_ros.training.features import CachedFeatures
from hpt_ros.training.need import Need

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")


@pytest.fixture
def frozen(config: FinetuneConfig) -> FinetuneConfig:
    """With a frozen ResNet-18, whose features are cached; no dropout, whose draws are the device's."""
    policy = replace(config.policy, encoder=EncoderConfig("resnet18", "random"), dropout=0.0, drop_path=0.0)
    return replace(config, policy=policy)


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("room_bytes", [0, 2**40], ids=["streamed", "resident"])
def test_losses_are_those_of_a_cpu(
    frozen: FinetuneConfig, folder: Path, tmp_path: Path, room_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = []
    intact = CachedFeatures.place
    monkeypatch.setattr(Need, "room", lambda *_: room_bytes)
    monkeypatch.setattr(CachedFeatures, "place", lambda *given: placed.append(intact(*given)))
    finetune(frozen, [folder], tmp_path / "gpu", device="cuda")  # computes the features, which the CPU then reads
    finetune(frozen, [folder], tmp_path / "cpu")
    assert placed == [room_bytes > 0, False]
    np.testing.assert_allclose(losses(tmp_path / "gpu"), losses(tmp_path / "cpu"), rtol=2e-3)


def test_features_are_those_of_a_cpu(frozen: FinetuneConfig, folder: Path, tmp_path: Path) -> None:
    found = []
    for device in ("cuda", "cpu"):
        finetune(replace(frozen, steps=1), [folder], tmp_path / device, device=device)
        (cache,) = (folder / "features").glob("*/features.npy")
        found.append(np.load(cache))
        cache.parent.rename(tmp_path / f"features_{device}")
    np.testing.assert_allclose(*found, atol=1e-4 * np.abs(found[1]).max())


@pytest.mark.parametrize("compute", [ComputeConfig("bf16"), ComputeConfig("bf16", compile=True)], ids=str)
def test_mixed_precision_learns(frozen: FinetuneConfig, folder: Path, tmp_path: Path, compute: ComputeConfig) -> None:
    finetune(replace(frozen, compute=compute, steps=60), [folder], tmp_path / "run", device="cuda")
    first, *_, last = losses(tmp_path / "run")
    assert last < 0.7 * first
    load_checkpoint(tmp_path / "run" / "last")  # refuses weights that are not finite


def test_interrupted_run_goes_on(frozen: FinetuneConfig, folder: Path, tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    def cut(report: Any) -> None:
        if report.step == 20:
            raise Cut

    kept = replace(frozen, state_every_s=0.0)
    with pytest.raises(Cut):
        finetune(kept, [folder], tmp_path / "run", device="cuda", progress=cut)
    finetune(kept, [folder], tmp_path / "run", device="cuda")
    finetune(kept, [folder], tmp_path / "whole", device="cuda")
    np.testing.assert_allclose(losses(tmp_path / "run")[-1], losses(tmp_path / "whole")[-1], rtol=1e-3)
