"""What `bench finetune` trains on: random features, states and commands, the same for both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.benchmarks.finetune_reference import FeatureArrays, PublishedPolicy, published_loop
from hpt_ros.benchmarks.policy_scene import HORIZON, embodiment
from hpt_ros.embodiment import Embodiment
from hpt_ros.model import HPTPolicy, PolicyConfig
from hpt_ros.model.config import EncoderConfig
from hpt_ros.training.adaptation import freeze_trunk
from hpt_ros.training.config import ComputeConfig, FinetuneConfig, OptimizerConfig, Precision
from hpt_ros.training.features import CachedFeatures
from hpt_ros.training.learner import Learner
from hpt_ros.training.order import Order
from hpt_ros.training.windows import Windows, all_episodes

SEED, TICKS = 0, 1024
OPTIMIZER = OptimizerConfig(lr=1e-5, warmup_steps=0, weight_decay=0.05, grad_clip=1.0)


@dataclass(frozen=True)
class _Episode:
    start: int
    stop: int
    score: float = 1.0
    task: str = ""
    instruction: str = ""
    source: str = ""


@dataclass(frozen=True)
class RandomDemos:
    """Demonstrations of random numbers, as `hpt_ros.demos.Demos`."""

    path: Path
    embodiment: Embodiment
    episodes: tuple[_Episode, ...]
    state: NDArray[np.float32]
    command: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    depth: dict[str, NDArray[np.uint16]]
    intervention: None = None

    def window(self, i: int) -> Any:
        raise AssertionError("the features are known: no window is read")


class Scene:
    """The same random features, states and commands for both sides."""

    def __init__(self, folder: Path, batch: int) -> None:
        self._batch, self._body = batch, embodiment()
        rng, body = np.random.default_rng(SEED), self._body
        widths = len(body.state_names), len(body.action_names)
        state, command = (rng.uniform(-1, 1, (TICKS, width)).astype(np.float32) for width in widths)
        features = rng.random((TICKS, len(body.cameras), 49, 512), np.float32)
        episodes = (_Episode(0, TICKS),)
        demos = RandomDemos(folder, body, episodes, state, command, {}, {})
        folder.mkdir()
        np.save(folder / "features.npy", features)
        self.features = CachedFeatures({folder: [folder / "features.npy"]}, None)
        self._windows = Windows(all_episodes([demos]), None, self.features)
        chunk = np.minimum(np.arange(TICKS)[:, None] + 1 + np.arange(body.policy.action_horizon), TICKS - 1)
        valid = np.arange(TICKS)[:, None] + 1 + np.arange(body.policy.action_horizon) < TICKS
        self._arrays = {"image": features, "state": state, "action": command[chunk], "valid": valid}

    def policy(self, frozen: bool) -> HPTPolicy:
        """HPT-base with the same random weights every time."""
        torch.manual_seed(SEED)
        still = {"dropout": 0.0, "drop_path": 0.0}
        config = PolicyConfig.sized("base", encoder=EncoderConfig("resnet18", "random"), **still)
        policy = HPTPolicy(config, self._body)
        freeze_trunk(policy, "all" if frozen else "none")
        policy.scaling.fit(*self._windows.rows())
        return policy

    def ours(self, frozen: bool, precision: Precision, steps: int, batch_size: int) -> Iterator[float]:
        """The loss of each step of this package."""
        learner = self.learner(self.policy(frozen), ComputeConfig(precision), batch_size)
        return (learner.step().loss for _ in range(steps))

    def learner(self, policy: HPTPolicy, compute: ComputeConfig, batch_size: int) -> Learner:
        """This package's training of a policy, on the device that holds it."""
        config = FinetuneConfig(policy.config, OPTIMIZER, steps=10**6, batch_size=batch_size, compute=compute)
        return Learner(config, policy, self._windows, self._windows, SEED)

    def published(self, frozen: bool, steps: int) -> Iterator[float]:
        """The loss of each step of the published loop."""
        policy = self.policy(frozen)
        order = Order(TICKS, self._batch, SEED)
        ticks = np.concatenate([order.batch(step) for step in range(steps)])
        rest = [p for p in policy.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": OPTIMIZER.weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=OPTIMIZER.lr)
        data = FeatureArrays(self._arrays, ticks, HORIZON)
        return published_loop(PublishedPolicy(policy), data, self._batch, optimizer, OPTIMIZER.grad_clip)
