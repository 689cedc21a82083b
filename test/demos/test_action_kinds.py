"""One set of bags, every kind of action: what is stored is what was commanded, what is trained on follows from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic

from hpt_ros.control.actions import action_space
from hpt_ros.control.kinematics import forward, pose_error
from hpt_ros.demos import Demos, convert
from hpt_ros.embodiment.columns import KINDS, ActionKind
from hpt_ros.embodiment.schema import Action, Embodiment
from hpt_ros.errors import FingerprintError
from hpt_ros.evaluation.replay import column_errors, replay_episodes

ROBOT = synthetic.embodiment(observation_horizon=2, action_horizon=4)


def robot(kind: ActionKind) -> Embodiment:
    return replace(ROBOT, action=Action(kind), name=f"sim_panda_{kind}")


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded with joint_position, as any robot may have been."""
    folder = tmp_path_factory.mktemp("bags")
    synthetic.record(folder, ROBOT, synthetic.messages(ROBOT, 1.0))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_bags_convert_with_any_kind_of_action(kind: ActionKind, bags: Path, tmp_path: Path) -> None:
    convert([bags], robot(kind), tmp_path / "demos")
    demos = Demos.open(tmp_path / "demos")
    assert demos.command.shape[1] == len(ROBOT.command_names), "joints are stored, whatever the kind"
    window = demos.window(3)
    assert window.action.shape == (4, len(robot(kind).action_names))
    sent = action_space(robot(kind)).decode(window.action, window.state[-1])
    commanded = demos.command[4:8]
    if robot(kind).chunk_names == ROBOT.command_names:
        np.testing.assert_allclose(sent, commanded, atol=1e-6)
    else:
        np.testing.assert_allclose(sent[:, :3], forward(commanded[:, :7])[:, :3, 3], atol=1e-6)
        np.testing.assert_array_equal(sent[:, -1], commanded[:, -1])
    if kind == "ee_delta":
        twist = pose_error(forward(window.state[-1, :7]), forward(commanded[0, :7]))
        np.testing.assert_allclose(window.action[0, :6], twist, atol=1e-6)


def test_another_kind_of_action_is_all_that_a_bag_may_differ_in(bags: Path, tmp_path: Path) -> None:
    other = robot("ee_pose")
    other = replace(other, policy=replace(other.policy, rate_hz=10))
    with pytest.raises(FingerprintError, match=r"policy\.rate_hz"):
        convert([bags], other, tmp_path / "demos")


@pytest.mark.parametrize("kind", KINDS)
def test_replay_compares_what_would_be_sent(kind: ActionKind, bags: Path, tmp_path: Path) -> None:
    """A policy that knows the demonstration makes no error; one that is a hundredth off is off by that in every column."""
    convert([bags], robot(kind), tmp_path / "demos")
    demos, space = Demos.open(tmp_path / "demos"), action_space(robot(kind))

    class Knows:
        def __init__(self, off: float) -> None:
            self.off = np.float32(off)

        def act(self, window: object) -> np.ndarray:
            return space.decode(window.action, window.state[-1]) + self.off  # type: ignore[attr-defined]

        def seed(self, seed: int) -> None:
            pass

    for off in (0.0, 0.01):
        replays = replay_episodes(lambda _, off=off: Knows(off), demos, [0], lambda done: None)
        columns = column_errors(replays, demos.embodiment)
        assert tuple(c.name for c in columns) == robot(kind).chunk_names
        assert [c.max for c in columns] == pytest.approx([off] * len(columns), abs=1e-6)
        assert all(c.standing_still < 0.1 for c in columns)
