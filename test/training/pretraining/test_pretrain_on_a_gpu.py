"""Pre-training on a GPU: the losses of a CPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hpt_ros.model import EncoderConfig
from hpt_ros.training.pretraining import PretrainConfig, pretrain

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")


def test_losses_are_those_of_a_cpu(settings: PretrainConfig, tmp_path: Path) -> None:
    encoder = EncoderConfig("resnet18", "random")
    plain = replace(settings, policy=replace(settings.policy, encoder=encoder, dropout=0.0, drop_path=0.0))
    losses = {}
    for device in ("cuda", "cpu"):
        pretrain(plain, tmp_path / device, device=device)
        lines = (tmp_path / device / "metrics.jsonl").read_text().splitlines()
        losses[device] = [json.loads(line)["loss"] for line in lines]
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=2e-3)
