"""What is run: the large variant for hours, the small one for minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpt_ros.embodiment.columns import ActionKind

Method = Literal["pretrained", "scratch", "no_trunk"]
METHODS: tuple[Method, ...] = ("pretrained", "scratch", "no_trunk")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Plan:
    """Sizes of the experiment.

    pretrain_on: robot, task and kind of action of each domain; no domain has `task`, which the held-out robot learns.
    pretrain_seeds: seed s of fine-tuning starts from the trunk of pre-training seed s modulo their number.
    trials: closed-loop trials of each fine-tuned policy, from random starts that no demonstration had.
    check_demos: demonstrations that nothing is trained on, for the error in open loop.
    """

    name: str
    pretrain_on: tuple[tuple[str, str, ActionKind], ...]
    task: str
    demos_each: int
    pretrain_steps: int
    draws: int
    pretrain_seeds: int
    counts: tuple[int, ...]
    steps: int
    trials: int
    pixels: int
    embed_dim: int
    num_blocks: int
    tokens: int
    check_demos: int = 10
    batch_size: int = 32
    lr: float = 1e-3

    def cells(self, seed: int) -> list[Cell]:
        """The fine-tuned policies of a seed."""
        return [Cell(method, count, seed) for count in self.counts for method in METHODS]


@dataclass(frozen=True)
class Cell:
    """One policy of the held-out robot."""

    method: Method
    demos: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.method}_{self.demos}_{self.seed}"


_KINDS: dict[str, ActionKind] = {
    "left": "joint_delta",
    "long": "ee_pose",
    "high": "joint_position",
    "wrist_only": "ee_delta",
}
QUICK = Plan(
    name="quick",
    pretrain_on=(
        ("left", "lift", "joint_position"),
        ("long", "push", "joint_position"),
        ("high", "lift", "joint_position"),
        ("wrist_only", "push", "joint_position"),
    ),
    task="reach",
    demos_each=16,
    pretrain_steps=500,
    draws=2,
    pretrain_seeds=1,
    counts=(10, 50),
    steps=300,
    trials=12,
    pixels=48,
    embed_dim=64,
    num_blocks=2,
    tokens=4,
)
FULL = Plan(
    name="full",
    pretrain_on=tuple((robot, task, kind) for robot, kind in _KINDS.items() for task in ("lift", "push")),
    task="reach",
    demos_each=60,
    pretrain_steps=3000,
    draws=2,
    pretrain_seeds=3,
    counts=(10, 25, 50),
    steps=1200,
    trials=40,
    pixels=64,
    embed_dim=128,
    num_blocks=4,
    tokens=16,
)
