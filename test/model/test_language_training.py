"""Fine-tuning on demonstrations in memory that only the instruction tells apart."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError
from hpt_ros.model import LanguageConfig, PolicyConfig, PolicyRunner, load_checkpoint
from hpt_ros.model.language import t5
from hpt_ros.training import FinetuneConfig, finetune
from hpt_ros.training.config import OptimizerConfig, ValidationConfig
from hpt_ros.training.windows import Windows, all_episodes, data_hash

LEFT, RIGHT = "push the cube to the left", "push the cube to the right"
TICKS, EPISODES = 6, 8


@dataclass(frozen=True)
class Episode:
    start: int
    stop: int
    instruction: str
    score: float = 1.0
    task: str = "push"
    source: str = ""


@dataclass(frozen=True)
class Demos:
    """The arm sees the same everywhere; LEFT moves all joints to -1, RIGHT to +1."""

    embodiment: Embodiment
    episodes: tuple[Episode, ...]
    path: Path = Path("memory")

    @property
    def command(self) -> NDArray[np.float32]:
        side = [1.0 if e.instruction.endswith("right") else -1.0 for e in self.episodes for _ in range(TICKS)]
        return np.asarray(side, np.float32)[:, None] * np.ones(len(self.embodiment.action_names), np.float32)

    @property
    def state(self) -> NDArray[np.float32]:
        return np.random.default_rng(0).normal(0, 1, self.command.shape).astype(np.float32)

    def decoded(self) -> Demos:
        return self

    def window(self, i: int) -> Any:
        rows = self.embodiment.policy.action_horizon
        images = {c.name: np.full((1, *c.size_px, 3), 100, np.uint8) for c in self.embodiment.cameras}
        return SimpleNamespace(
            state=self.state[i : i + 1],
            images=images,
            depth={},
            action=np.repeat(self.command[i : i + 1], rows, axis=0),
            valid=np.ones(rows, bool),
        )


@pytest.fixture
def demos(embodiment: Embodiment) -> Demos:
    small = replace(embodiment, policy=replace(embodiment.policy, action_horizon=4, execute_rows=4))
    texts = [LEFT, RIGHT] * (EPISODES // 2)
    return Demos(small, tuple(Episode(k * TICKS, (k + 1) * TICKS, text) for k, text in enumerate(texts)))


@pytest.fixture
def config(t5_folder: Path) -> FinetuneConfig:
    language = LanguageConfig(str(t5_folder), max_tokens=8, width=24)
    return FinetuneConfig(
        policy=PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4, dropout=0, drop_path=0, language=language),
        optimizer=OptimizerConfig(lr=3e-3, warmup_steps=5, weight_decay=1e-4, grad_clip=1.0),
        steps=60,
        batch_size=16,
        validation=ValidationConfig(fraction=0.25, every_steps=30),
    )


def test_the_instruction_decides_the_action(
    demos: Demos, config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpt_ros.training.finetuning.Demos.open", lambda _: demos)
    encoded: list[int] = []
    encode = t5._encode
    monkeypatch.setattr(t5, "_encode", lambda *args: encoded.append(len(args[1])) or encode(*args))
    finetune(config, [Path("memory")], tmp_path / "run")
    assert encoded == [2]  # each text once, both in one go
    checkpoint = load_checkpoint(tmp_path / "run" / "last")
    assert checkpoint.instructions is not None
    assert sorted(checkpoint.instructions.texts) == [LEFT, RIGHT]
    assert checkpoint.provenance["language"] == dict(checkpoint.instructions.source)
    assert checkpoint.provenance["language"]["path"] == config.policy.language.weights
    window = demos.window(0)
    chunks = {text: PolicyRunner(checkpoint, 1, text).act(window) for text in (LEFT, RIGHT)}
    assert chunks[LEFT].max() < -0.5
    assert chunks[RIGHT].min() > 0.5


def test_windows_have_the_tokens_of_their_episode(demos: Demos, config: FinetuneConfig) -> None:
    assert config.policy.language is not None
    episodes = all_episodes([demos])
    cache = t5.embed(config.policy.language, [LEFT, RIGHT])
    batch = Windows(episodes, cache).batch([0, TICKS, TICKS - 1])
    assert batch.language is not None
    assert batch.language_keep is not None
    for row, text in enumerate((LEFT, RIGHT, LEFT)):
        assert batch.language[row].equal(cache.tokens(text).values)
        assert batch.language_keep[row].equal(cache.tokens(text).keep)
    assert Windows(episodes).batch([0]).language is None


def test_episodes_without_instruction_are_refused_by_name(
    demos: Demos, config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = replace(demos, episodes=(*demos.episodes[:-1], replace(demos.episodes[-1], instruction="  ")))
    monkeypatch.setattr("hpt_ros.training.finetuning.Demos.open", lambda _: silent)
    with pytest.raises(DataError, match=r"memory: ticks 42 to 47"):
        finetune(config, [Path("memory")], tmp_path / "run")
    without = replace(config, steps=1, policy=replace(config.policy, language=None))
    finetune(without, [Path("memory")], tmp_path / "run")
    assert not list((tmp_path / "run").rglob("instructions*"))
    assert "language" not in json.loads((tmp_path / "run" / "last" / "checkpoint.json").read_text())["provenance"]


def test_other_instructions_are_other_data(demos: Demos) -> None:
    swapped = replace(demos.episodes[0], instruction="push")
    assert data_hash([demos]) != data_hash([replace(demos, episodes=(swapped, *demos.episodes[1:]))])
