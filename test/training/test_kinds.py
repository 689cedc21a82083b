"""Every kind of action from the demonstrations through the normaliser to the chunk that is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpt_ros.control.actions import action_space, least_ranges
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.columns import KINDS, ActionKind
from hpt_ros.embodiment.schema import Action
from hpt_ros.model import PolicyRunner, load_checkpoint
from hpt_ros.model.normalizer import Scaling
from hpt_ros.training.finetuning import train
from hpt_ros.training.run_folder import RunFolder
from hpt_ros.training.windows import Windows, all_episodes


@dataclass(frozen=True)
class Kinds:
    """Demonstrations in memory whose windows are those of a kind of action, around a bent arm."""

    plain: Any
    embodiment: Embodiment

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.plain, name)
        bent = np.append(np.array(self.embodiment.home_rad), 0.04).astype(np.float32)
        return value * np.float32(0.3) + bent if name in ("state", "command") else value

    def window(self, i: int) -> Any:
        bare = self.plain.window(i)
        stop = next(e.stop for e in self.episodes if e.start <= i < e.stop)
        due = np.minimum(np.arange(i + 1, i + 1 + self.embodiment.policy.action_horizon), stop - 1)
        action = action_space(self.embodiment).encode(self.command[due], self.state[i])
        return bare._replace(state=self.state[i : i + 1], action=action)


@dataclass(frozen=True)
class Seen:
    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]


@pytest.fixture(params=KINDS)
def data(request: pytest.FixtureRequest, demos: Any) -> Kinds:
    kind: ActionKind = request.param
    return Kinds(demos, replace(demos.embodiment, action=Action(kind)))


def test_the_normaliser_sees_every_row_of_every_chunk(data: Kinds) -> None:
    windows = Windows(all_episodes([data]))
    batch = windows.batch(range(len(windows)))
    scaling = Scaling(len(data.embodiment.action_names))
    scaling.fit(windows.rows()[1], least_ranges(data.embodiment))
    labels = scaling.normalize(batch.action)[batch.valid]
    assert labels.abs().max() <= 1 + 1e-4
    if data.embodiment.action.kind in ("joint_position", "joint_delta"):
        assert labels.amax(0)[:7] == pytest.approx(np.ones(7), abs=0.05), "and nothing that no chunk holds"


@pytest.mark.parametrize("data", ["ee_delta"], indirect=True)
def test_a_trained_policy_sends_absolute_rows(
    data: Kinds, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    train(
        replace(config, steps=5, validation=replace(config.validation, fraction=0.0)),
        [data],
        RunFolder(tmp_path / "run", False),
        trunk=None,
        seed=0,
        device="cpu",
        progress=lambda _: None,
    )
    checkpoint = load_checkpoint(tmp_path / "run" / "last")
    assert checkpoint.embodiment == data.embodiment
    window = data.window(20)
    runner, seen = PolicyRunner(checkpoint), Seen(window.state, window.images)
    sent = runner.act(seen)
    assert sent.shape == (4, len(data.embodiment.chunk_names))
    there = action_space(data.embodiment).decode(window.action, window.state[-1])
    assert np.abs(sent - there).max() < 0.6, "within what was demonstrated of the demonstrated rows"
    monkeypatch.setattr(runner, "_run", lambda *_: window.action)
    np.testing.assert_array_equal(runner.act(seen), there)


def test_a_range_is_not_stretched_below_its_least() -> None:
    scaling, rows = Scaling(2), np.array([[0.5, 0.1], [0.502, 0.9]])
    scaling.fit(rows, np.array([0.02, 0.02]))
    seen = scaling.normalize(torch.from_numpy(rows.astype(np.float32)))
    assert seen[:, 0].tolist() == pytest.approx([-0.1, 0.1], abs=1e-4)
    assert seen[:, 1].tolist() == pytest.approx([-1, 1], abs=1e-4)
    torch.testing.assert_close(scaling.unnormalize(seen), torch.from_numpy(rows.astype(np.float32)))
