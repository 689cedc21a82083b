"""A policy of another environment, behind a socket, in the policy node's place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from experiments.side_by_side import wire
from experiments.side_by_side.lerobot_training import FACTS
from experiments.side_by_side.policy_node import LerobotSource, Remote
from hpt_ros.embodiment import embodiment_to, load_embodiment
from hpt_ros.errors import DataError, HptRosError

ROBOT = load_embodiment("sim_panda")
SERVER = """
import socket, sys
sys.path.insert(0, {folder!r})
import numpy as np, wire
def act(seen):
    assert seen["front"].dtype == np.uint8
    return np.arange(4.0)[:, None] + seen["state"] + {added}
with socket.create_server((wire.HOST, 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    wire.serve(act, listener)
"""


def command(added: str) -> list[str]:
    return [sys.executable, "-c", SERVER.format(folder=str(Path(wire.__file__).parent), added=added)]


def observation() -> SimpleNamespace:
    state = np.arange(16, dtype=np.float32).reshape(2, 8)
    images = {"front": np.zeros((2, 4, 4, 3), np.uint8), "wrist": np.zeros((2, 4, 4, 3), np.uint8)}
    return SimpleNamespace(state=state, images=images)


def test_it_sees_the_newest_and_gives_a_chunk() -> None:
    remote = Remote(command("0.5"))
    for _ in range(2):
        chunk = remote.act(observation())
        assert chunk.dtype == np.float32
        np.testing.assert_allclose(chunk, np.arange(4)[:, None] + np.arange(8, 16) + 0.5)
    remote._socket.close()
    assert remote._server.wait(timeout=10) == 0, "ends when the client hangs up"


def test_what_it_may_not_give_is_refused() -> None:
    remote = Remote(command("np.nan"))
    with pytest.raises(DataError, match="not finite"):
        remote.act(observation())
    remote._server.kill()
    remote._server.wait()
    with pytest.raises(OSError, match=r"hung up|reset|Broken pipe"):
        remote.act(observation())


def test_one_that_does_not_start_is_refused() -> None:
    with pytest.raises(HptRosError, match="could not be loaded"):
        Remote([sys.executable, "-c", "raise SystemExit(1)"])


def test_the_checkpoint_says_which_robot_it_is_for(tmp_path: Path) -> None:
    facts = {"kind": "act", "venv": "/nowhere", "embodiment": embodiment_to(ROBOT)}
    (tmp_path / FACTS).write_text(json.dumps(facts))
    source = LerobotSource(tmp_path)
    assert source.embodiment == ROBOT
    assert source.origin == "act of lerobot"


def test_what_is_no_message_is_refused() -> None:
    import socket

    a, b = socket.socketpair()
    with a, b:
        a.sendall(b"\xff" * 8)
        with pytest.raises(ConnectionError, match="a message of"):
            wire.receive(b)
