"""Two processes, really started by torchrun, against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hpt_ros.errors import ConfigError
from hpt_ros.model import load_checkpoint
from hpt_ros.model.weights import read_tensors
from hpt_ros.training.pretraining import PretrainConfig, pretrain
from hpt_ros.training.pretraining.run import train
from hpt_ros.training.pretraining.sources import open_sources
from hpt_ros.training.pretraining.workers import Workers

TIMEOUT_S = 240


def torchrun(*command: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(launcher, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False)


def test_two_processes_train_what_one_trains(settings: PretrainConfig, settings_file: Any, tmp_path: Path) -> None:
    """20 steps of 2 draws. Dropout is on: what is random belongs to the draw, not to the process."""
    one, two = tmp_path / "one", tmp_path / "two"
    report = pretrain(replace(settings, draws=2), one)
    options = ["--out", str(two), "--device", "cpu", "--threads", "1"]
    ended = torchrun("-m", "hpt_ros.cli.main", "pretrain", str(settings_file(draws=2)), *options)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((two / "report.json").read_text())["workers"] == 2
    trunks = [read_tensors(run / "last" / "trunk.pth") for run in (one, two)]
    assert trunks[0].keys() == trunks[1].keys() == report.trunk.tensors.keys()
    pairs = [(trunks[0][name], trunks[1][name]) for name in trunks[0]]
    for domain in settings.domains:
        a, b = (load_checkpoint(run / "domains" / domain).policy.state_dict() for run in (one, two))
        pairs += [(a[name], b[name]) for name in a]
    assert max(float((a - b).abs().max()) for a, b in pairs) < 1e-6
    curves = [[json.loads(line) for line in (run / "metrics.jsonl").open()] for run in (one, two)]
    for a, b in zip(*curves, strict=True):
        assert a["losses"] == pytest.approx(b["losses"], abs=1e-6)
        assert a["val_losses"] == pytest.approx(b["val_losses"], abs=1e-6)


def test_processes_share_out_agree_and_refuse_together(
    settings: PretrainConfig, settings_file: Any, learner: Any, tmp_path: Path
) -> None:
    ended = torchrun(str(Path(__file__).with_name("two_workers.py")), str(tmp_path), str(settings_file(draws=3)))
    assert ended.returncode == 0, ended.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first["mine"], second["mine"]) == ([0, 2, 4], [1, 3])
    assert first["one refuses"] == "7 rank 1: the folder is in use"
    assert second["one refuses"] == "7 the folder is in use"
    for name in first.keys() - {"mine", "one refuses"}:
        assert first[name] == second[name]
    assert first["sums"] == [[3.0] * 3, [21.0] * 2]
    assert first["same facts"] == "accepted"
    assert first["other facts"].startswith("5 the workers do not agree:\n  seed: rank 0 has 0, rank 1 has 1")
    assert "data" not in first["other facts"]
    assert first["state"] == [{"step": 5}, [0.0, 1.0, 2.0], 7]
    assert first["no state"] is None
    assert first["gathered"] == ["x", "x" * 10]

    alone, policy = learner(draws=3)  # two draws on one process, one on the other: each weighs a third
    alone.step()
    shared = [read_tensors(tmp_path / f"{rank}.safetensors") for rank in (0, 1)]
    expected = {name: p.grad for name, p in policy.named() if p.grad is not None}
    assert expected.keys() == shared[0].keys()
    for name, gradient in expected.items():
        assert torch.equal(shared[0][name], shared[1][name])
        assert torch.allclose(shared[0][name], gradient, rtol=1e-4, atol=1e-7)


def test_shards_train_what_one_process_trains_and_go_on_exactly(
    settings: PretrainConfig, settings_file: Any, tmp_path: Path
) -> None:
    """FSDP: 12 steps, dropout and an average of the weights; each process holds half of every tensor of the trunk."""
    changes: dict[str, Any] = {"steps": 12, "draws": 2, "optimizer": replace(settings.optimizer, ema_decay=0.9)}
    pretrain(replace(settings, **changes), tmp_path / "one")
    file = settings_file(parallel="fsdp", **changes)
    ended = torchrun(str(Path(__file__).with_name("sharded_workers.py")), str(tmp_path), str(file))
    assert ended.returncode == 0, ended.stderr
    shares = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0.45
    one, sharded = (read_tensors(tmp_path / run / "last" / "trunk.pth") for run in ("one", "sharded"))
    assert {name: tensor.shape for name, tensor in one.items()} == {n: t.shape for n, t in sharded.items()}
    assert max(float((one[name] - sharded[name]).abs().max()) for name in one) < 1e-6
    for domain in settings.domains:
        a, b = (load_checkpoint(tmp_path / run / "domains" / domain).policy.state_dict() for run in ("one", "sharded"))
        # a few gradients are rounding alone, as of a bias before a softmax, and AdamW takes them for full ones
        assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-5
    curves = [[json.loads(line) for line in (tmp_path / run / "metrics.jsonl").open()] for run in ("one", "sharded")]
    for a, b in zip(*curves, strict=True):
        assert a["losses"] == pytest.approx(b["losses"], abs=1e-6)
        assert a["grad_norm"] == pytest.approx(
            b["grad_norm"], rel=1e-5
        )  # updates hardly tell a gradient from its double
    for name in ("last", "best"):
        whole, broken = (read_tensors(tmp_path / run / name / "trunk.pth") for run in ("sharded", "broken"))
        assert all(torch.equal(tensor, broken[key]) for key, tensor in whole.items())


def test_shards_need_as_many_draws_on_every_process(settings: PretrainConfig, tmp_path: Path) -> None:
    workers = Workers()
    workers.size = 2
    odd = replace(settings, draws=3, parallel="fsdp")
    with pytest.raises(ConfigError, match="multiple of 2 with fsdp"):
        train(odd, open_sources(odd, 0), tmp_path / "run", workers, seed=0)
