"""Trials in the simulator alone, and a policy of another environment behind a socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")

from experiments.offline_trials import Contender, OfflinePlan, offline_trials, try_offline
from experiments.panda_lift.plan import full_plan, quick_plan
from experiments.side_by_side import wire
from experiments.side_by_side.lerobot import ask
from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import DataError
from hpt_ros.evaluation.report import Evaluation
from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint
from hpt_ros.sim.tasks import TASKS
from hpt_ros.sim.variation import VARIATIONS

ROBOT = load_embodiment("sim_panda")


@pytest.fixture(autouse=True)
def _short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TASKS["reach"]), "time_limit_s", 0.6)


@contextmanager
def served(act: object, reset: object = lambda: None) -> Iterator[socket.socket]:
    with socket.create_server((wire.HOST, 0)) as listener:
        thread = threading.Thread(target=wire.serve, args=(act, reset, listener), daemon=True)
        thread.start()
        with socket.create_connection(listener.getsockname()) as connection:
            yield connection
        thread.join(timeout=10)
        assert not thread.is_alive(), "ends when the client hangs up"


def test_a_checkpoint_is_tried_and_a_second_run_goes_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), ROBOT)
    rows = np.append(np.array(ROBOT.home_rad), 0.08) + np.random.default_rng(0).uniform(-0.02, 0.0, (50, 8))
    policy.scaling.fit(rows, rows)
    save_checkpoint(tmp_path / "last", policy.eval(), ROBOT, {})
    offline_trials(tmp_path / "last", tmp_path / "out", OfflinePlan("reach", 1, 7))
    offline_trials(tmp_path / "last", tmp_path / "out", OfflinePlan("reach", 2, 7))
    found = Evaluation.load(tmp_path / "out")
    assert [(trial.index, trial.seed, trial.score) for trial in found.trials] == [(0, 7, 0.0), (1, 8, 0.0)]
    assert found.trials[0].policy_latency_p50_ms > 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["trials"] == 2
    with pytest.raises(DataError, match="variation"):
        offline_trials(tmp_path / "last", tmp_path / "out", OfflinePlan("reach", 2, 7, "dim"))


def test_a_policy_behind_a_socket_sees_and_acts_as_one_beside_it(tmp_path: Path) -> None:
    seen: list[dict[str, np.ndarray]] = []
    begun: list[int] = []

    def act(arrays: dict[str, np.ndarray]) -> np.ndarray:
        seen.append(arrays)
        return arrays["state"] + 0.01

    with served(act, lambda: begun.append(1)) as connection:

        def begin(_: int) -> None:
            wire.send(connection, {}, {"reset": True})
            wire.receive(connection)

        contender = Contender("far", "f", lambda state, images: ask(connection, state, images), begin)
        try_offline(contender, ROBOT, tmp_path, OfflinePlan("reach", 1, 3))
    assert begun == [1]
    assert {name: array.shape for name, array in seen[0].items()} == {
        "state": (8,),
        "front": (64, 64, 3),
        "wrist": (64, 64, 3),
    }
    assert seen[0]["front"].dtype == np.uint8
    assert len(seen) >= 9, "one action a tick"
    assert seen[-1]["state"][0] > seen[0]["state"][0] + 0.03


def test_what_is_no_message_is_refused() -> None:
    with served(lambda arrays: arrays["state"]) as connection:
        connection.sendall(b"\xff" * 8)
        with pytest.raises(ConnectionError):
            wire.receive(connection)


@pytest.mark.parametrize("plan", [full_plan(), quick_plan()], ids=["full", "quick"])
def test_every_cell_can_be_run(plan) -> None:
    names = [cell.name for cell in plan.cells]
    assert len(set(names)) == len(names)
    for cell in plan.cells:
        assert cell.task in TASKS
        assert cell.variation in VARIATIONS
        assert cell.over == "dds" or cell.strategy == "receding_horizon", "strategies are the commander's"
    runs = {(cell.run, cell.demos, json.dumps(dict(cell.head)), cell.cameras) for cell in plan.cells}
    assert len({run for run, *_ in runs}) == len(runs), "a run has one recipe"
