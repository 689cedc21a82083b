"""`policy_node` with a policy of lerobot, which acts in an environment of its own: `python -m experiments.side_by_side.policy_node`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.side_by_side import wire
from experiments.side_by_side.lerobot_training import FACTS, environment
from hpt_ros.control.commitment import Committed
from hpt_ros.embodiment import embodiment_from
from hpt_ros.errors import DataError, HptRosError
from hpt_ros.model.runner import ObservationLike
from hpt_ros.nodes.policy_node import PolicyNode
from hpt_ros.nodes.runtime import run_node

_SERVER = Path(__file__).with_name("lerobot_server.py")


class LerobotSource:
    """A checkpoint that `Lerobot.train` made."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / FACTS).read_text())
        self._folder, self._venv = folder, Path(facts["venv"])
        self.embodiment = embodiment_from(facts["embodiment"])
        self.origin = f"{facts['kind']} of lerobot"

    def acting(self, threads: int | None, **_: Any) -> Remote:
        """Its server; the other options are of this package's own network."""
        return Remote(
            [str(self._venv / "bin" / "python"), str(_SERVER), str(self._folder.resolve()), str(threads or 1)]
        )


class Remote:
    """A policy in another process, which ends when the connection does. `command` starts it."""

    def __init__(self, command: list[str]) -> None:
        self._server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        assert self._server.stdout is not None
        port = self._server.stdout.readline().strip()
        if not port:
            raise HptRosError("lerobot's policy could not be loaded", "see its output above")
        self._socket = socket.create_connection((wire.HOST, int(port)))

    def act(self, observation: ObservationLike, committed: Committed | None = None) -> NDArray[np.float32]:
        """As `PolicyRunner.act`; the newest frames only, as the other side keeps what it wants to remember."""
        frames = {name: images[-1] for name, images in observation.images.items()}
        wire.send(self._socket, {"state": observation.state[-1], **frames})
        chunk = np.asarray(wire.receive(self._socket)["chunk"], np.float32)
        if not np.isfinite(chunk).all():
            raise DataError("the policy gave an action that is not finite", "use another checkpoint")
        return chunk


if __name__ == "__main__":
    sys.exit(run_node(partial(PolicyNode, LerobotSource)))
