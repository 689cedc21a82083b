"""What the proof run tries: one row a cell. The night's plan, and a small one that only shows that every piece works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

BOTH = ("front", "wrist")


@dataclass(frozen=True)
class Cell:
    """One checkpoint under one condition.

    `over`: trials over DDS in real time, or in the simulator alone (no latency, no limiter). `demos` are the first ones of
    the recording, which spreads its scenes evenly. `head` and `augmentation` change the `preset`, `strategy` the embodiment.
    """

    name: str
    question: str
    task: str = "lift"
    preset: str = "sim_lift"
    demos: int = 100
    head: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, float] = field(default_factory=dict)
    cameras: tuple[str, ...] = BOTH
    strategy: str = "receding_horizon"
    variation: str = "none"
    checkpoint: Literal["last", "initial"] = "last"
    over: Literal["dds", "offline"] = "offline"

    @property
    def recording(self) -> str:
        """The recording that it learns from; another set of cameras is another contract."""
        return self.task if self.cameras == BOTH else f"{self.task}_{'_'.join(self.cameras)}"

    @property
    def run(self) -> str:
        """The training run, shared by cells that differ in their trials only."""
        changed = "_augmented" if self.augmentation else ""
        return f"{self.recording}_{self.demos}_{self.head.get('kind', 'preset')}{changed}"


@dataclass(frozen=True)
class Plan:
    """Sizes. `preset` and `steps` stand for those of the cells and presets where they are given."""

    name: str
    cells: tuple[Cell, ...]
    trials: int
    preset: str | None = None
    steps: int | None = None
    seed: int = 2_000_000  # of the trials' scenes, far from those of the demonstrations


_DIFFUSION = {"kind": "diffusion", "down_dims": [64, 128], "train_steps": 100, "denoise_steps": 10}
_FLOW = {"kind": "flow", "down_dims": [64, 128], "denoise_steps": 10}
_CHANGED_VIEWS = {"shift": 0.04, "brightness": 0.5, "contrast": 0.4, "saturation": 0.5}
_SEEN = ("dim", "bright", "camera", "cube_orange", "cube", "table")


def full_plan() -> Plan:
    """A night on two cores."""
    cells = [
        Cell("lift", "lift, 100 demonstrations, over DDS", over="dds"),
        Cell("untrained", "the same network before training, over DDS", checkpoint="initial", over="dds"),
        Cell("push", "push, 100 demonstrations, over DDS", task="push", preset="sim_push", over="dds"),
        *(Cell(f"demos_{n}", f"{n} demonstrations", demos=n) for n in (10, 25, 50, 100)),
        Cell("head_mlp", "MLP head", head={"kind": "mlp"}),
        Cell("head_diffusion", "diffusion head", head=_DIFFUSION),
        Cell("head_flow", "flow head", head=_FLOW),
        Cell("front_only", "without the wrist camera", cameras=("front",)),
        *(
            Cell(f"strategy_{s}", f"chunks joined by {s}, over DDS", strategy=s, over="dds")
            for s in ("blend", "temporal_ensemble")
        ),
        *(Cell(f"seen_{v}", f"scene changed after training: {v}", variation=v) for v in _SEEN),
        Cell("augmented", "trained on changed views, over DDS", augmentation=_CHANGED_VIEWS, over="dds"),
        *(
            Cell(f"augmented_{v}", f"trained on changed views, scene: {v}", augmentation=_CHANGED_VIEWS, variation=v)
            for v in _SEEN
        ),
    ]
    return Plan("full", tuple(cells), trials=50)


def quick_plan() -> Plan:
    """Minutes; nothing is learned."""
    cells = (
        Cell("lift", "lift, over DDS", demos=2, over="dds"),
        Cell("untrained", "the same network before training", demos=2, checkpoint="initial"),
        Cell("demos_1", "1 demonstration", demos=1),
        Cell("head_flow", "flow head", demos=2, head={**_FLOW, "denoise_steps": 2}),
        Cell("strategy_blend", "chunks joined by blend, over DDS", demos=2, strategy="blend", over="dds"),
        Cell("seen_dim", "scene changed after training: dim", demos=2, variation="dim"),
    )
    return Plan("quick", cells, trials=1, preset="quick", steps=10)
