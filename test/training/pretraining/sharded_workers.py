"""Pre-training with shards on two processes that `torchrun` started: once without, once with an interruption;
and the share of the trunk that each holds: RANK.json. OUT SETTINGS."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hpt_ros.configuration import from_mapping, load_yaml
from hpt_ros.model.multi_policy import MultiPolicy
from hpt_ros.training.loop import StepReport
from hpt_ros.training.optimization import TRUNK
from hpt_ros.training.pretraining import PretrainConfig
from hpt_ros.training.pretraining.parallel import Sharded
from hpt_ros.training.pretraining.run import train
from hpt_ros.training.pretraining.sources import open_sources
from hpt_ros.training.pretraining.workers import Workers


def main() -> None:
    out, config = Path(sys.argv[1]), from_mapping(PretrainConfig, load_yaml(Path(sys.argv[2])))
    often = replace(config, state_every_s=0.0)
    with Workers() as workers:
        policy = MultiPolicy(config.policy, open_sources(config, 0).embodiments)
        whole = sum(p.numel() for p in policy.trunk.parameters())
        held = sum(p.numel() for name, p in Sharded(policy, workers).named() if name.startswith(TRUNK))
        (out / f"{workers.rank}.json").write_text(json.dumps(held / whole))

        def pretrain(config: PretrainConfig, name: str, **options: Any) -> None:
            torch.manual_seed(0)
            train(config, open_sources(config, 0), out / name, workers, seed=0, **options)

        pretrain(config, "sharded")
        try:
            pretrain(often, "broken", progress=interrupt)
        except KeyboardInterrupt:
            pretrain(often, "broken")


def interrupt(report: StepReport) -> None:
    if report.step == 7:
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()
