"""Ways to join chunks, tried on a network in virtual time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")

from experiments import strategies
from experiments.offline_trials import Network
from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint
from hpt_ros.sim.tasks import TASKS


def checkpoint(folder: Path, robot: Embodiment) -> Path:
    torch.manual_seed(0)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), robot)
    rows = np.append(np.array(robot.home_rad), 0.08) + np.random.default_rng(0).uniform(-0.02, 0.0, (50, 8))
    if robot.action.kind == "joint_position":
        policy.scaling.fit(rows, rows)
    save_checkpoint(folder, policy.eval(), robot, {})
    return folder


def test_every_way_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(type(TASKS["reach"]), "time_limit_s", 0.5)
    made = checkpoint(tmp_path / "last", load_embodiment("sim_panda"))
    monkeypatch.setattr("sys.argv", ["strategies", str(made), "--task", "reach", "--trials", "1"])
    assert strategies.main() == 0
    shown = capsys.readouterr().err
    for strategy, rows in strategies.ways(load_embodiment("sim_panda")):
        assert f"{strategy}, {rows} rows: 0 of 1" in shown


def test_a_policy_of_poses_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    made = checkpoint(tmp_path / "last", load_embodiment("sim_panda_ee"))
    monkeypatch.setattr("sys.argv", ["strategies", str(made), "--task", "reach"])
    assert strategies.main() != 0
    assert "action.kind: found 'ee_pose'" in capsys.readouterr().err


def test_the_history_begins_with_the_first_sample_repeated() -> None:
    seen = []
    robot = load_embodiment("sim_panda")
    robot = replace(robot, policy=replace(robot.policy, observation_horizon=3), cameras=())
    runner = SimpleNamespace(act=lambda observation: seen.append(observation.state) or np.zeros((1, 8)))
    network = Network(runner, robot)
    for value in (1.0, 2.0):
        network.act(np.full(8, value, np.float32), {})
    assert [state[:, 0].tolist() for state in seen] == [[1, 1, 1], [1, 1, 2]]
