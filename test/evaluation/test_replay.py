"""Open-loop replay against policies whose errors are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch

from hpt_ros.cli.main import main
from hpt_ros.demos import Demos, convert
from hpt_ros.errors import ConfigError
from hpt_ros.evaluation.replay import above, column_errors, replay_episodes, select_episodes
from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint
from hpt_ros.training.windows import all_episodes, data_hash, hold_out

ROBOT = synthetic.embodiment(observation_horizon=2, action_horizon=6, execute_rows=2)
MOVED = 3  # action column that a policy gets wrong


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    """Four episodes of a second and a half."""
    root = tmp_path_factory.mktemp("replay")
    for _ in range(4):
        synthetic.record(root / "bags", ROBOT, synthetic.messages(ROBOT, 1.5))
    convert([root / "bags"], ROBOT, root / "demos")
    return Demos.open(root / "demos")


class Recorded:
    """Answers each window with what was recorded, `wrong` by row (H,) in one column; counts what it is asked."""

    def __init__(self, wrong: np.ndarray) -> None:
        self.wrong, self.seeds, self.states = wrong, 0, []

    def seed(self, seed: int) -> None:
        self.seeds += 1

    def act(self, window) -> np.ndarray:
        self.states.append(window.state)
        answer = window.action.copy()
        answer[:, MOVED] += self.wrong.astype(np.float32)
        return answer


def run(demos: Demos, actor: Recorded, episodes: list[int]):
    return replay_episodes(lambda _: actor, demos, episodes, lambda _: None)


def test_errors_are_those_of_the_rows_and_columns_that_are_wrong(demos: Demos) -> None:
    actor = Recorded(np.array([0.01, 0.03, 0.5, 0.5, 0.5, 0.5]))
    columns = column_errors(run(demos, actor, [0, 2]), ROBOT)
    assert [c.name for c in columns] == list(ROBOT.action_names)
    assert [c.unit for c in columns] == ["rad"] * 7 + ["m"]
    wrong = columns[MOVED]
    np.testing.assert_allclose(wrong.mean_by_row, actor.wrong, atol=1e-6)
    np.testing.assert_allclose(wrong.max_by_row, actor.wrong, atol=1e-6)
    np.testing.assert_allclose([wrong.max, wrong.p95], 0.03, atol=1e-6)
    assert wrong.mean == pytest.approx(0.02, abs=5e-4)  # the last tick but one has a single row left
    assert all(c.max == 0 == max(c.max_by_row) for i, c in enumerate(columns) if i != MOVED)
    assert actor.seeds == 2
    episode = demos.episodes[0]
    np.testing.assert_array_equal(actor.states[1], demos.state[episode.start : episode.start + 2])


def test_rows_after_the_end_of_an_episode_do_not_count(demos: Demos) -> None:
    (replay,) = run(demos, Recorded(np.zeros(6)), [1])
    replay.predicted[~replay.valid] = 1e6
    assert not replay.valid[-1].any()
    assert all(c.max == 0 == max(c.max_by_row) for c in column_errors([replay], ROBOT))


def test_standing_still_is_the_distance_to_the_command_in_force(demos: Demos) -> None:
    (replay,) = run(demos, Recorded(np.zeros(6)), [0])
    command = demos.command[demos.episodes[0].start : demos.episodes[0].stop, 0]
    steps = np.concatenate([np.abs(command[1:] - command[:-1]), np.abs(command[2:] - command[:-2])])
    columns = column_errors([replay], ROBOT)
    assert columns[0].standing_still == pytest.approx(steps.mean(), rel=1e-5)
    assert columns[-1].standing_still == 0


def test_limits_name_what_is_above_them(demos: Demos) -> None:
    columns = column_errors(run(demos, Recorded(np.full(6, 0.02)), [0]), ROBOT)
    assert above(columns, {"rad": 0.021, "m": 0.0}) == []
    (sentence,) = above(columns, {"rad": 0.019})
    assert sentence.startswith(f"{ROBOT.action_names[MOVED]}: 95 % of the errors are below 0.0200 rad")


def test_episodes_are_chosen_by_numbers_and_ranges() -> None:
    assert select_episodes("", 3) == [0, 1, 2]
    assert select_episodes("7, 0,2-4,3", 8) == [0, 2, 3, 4, 7]
    for wrong in ("8", "3-2", "a", "1,,2", "-1"):
        with pytest.raises(ConfigError, match="numbers and ranges from 0 to 7"):
            select_episodes(wrong, 8)


@pytest.fixture
def checkpoint(demos: Demos, tmp_path: Path) -> Path:
    """Random weights that say which episodes they would have been trained on."""
    torch.manual_seed(0)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), ROBOT)
    policy.scaling.fit(demos.state, demos.command)
    settings = {"validation": {"fraction": 0.5}}
    provenance = {"data": {"hash": data_hash([demos])}, "seed": 5, "settings": settings}
    save_checkpoint(tmp_path / "last", policy.eval(), ROBOT, provenance)
    return tmp_path / "last"


def test_command_replays_held_out_episodes_and_judges_them(
    demos: Demos, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "plots" / "replay.png"
    arguments = ["replay", str(checkpoint), str(demos.path), "--json", "-"]
    assert main([*arguments, "--plot", str(plot), "--max-error-rad", "1e-6"]) == 1
    report = json.loads(capsys.readouterr().out)
    held_out = {e.start for e in hold_out(all_episodes([demos]), 0.5, 5)[1]}
    assert report["episodes"] == [i for i, e in enumerate(demos.episodes) if e.start in held_out]
    assert len(report["episodes"]) == 2
    assert len(report["above"]) == 7
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "--episodes", "1-3", "--max-error-rad", "9"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == [1, 2, 3]


def test_another_robots_demonstrations_are_refused(
    demos: Demos, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = synthetic.embodiment(action_horizon=7)
    synthetic.record(tmp_path / "bags", other, synthetic.messages(other, 1.0))
    convert([tmp_path / "bags"], other, tmp_path / "other")
    assert main(["replay", str(checkpoint), str(tmp_path / "other")]) == 3
    assert "action_horizon" in capsys.readouterr().err
