"""The policy's process with an arm that never rests: the network runs, what it says is replaced by a swing around home.

SIGUSR1 makes every inference take longer, SIGUSR2 ends that.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from functools import partial
from typing import Any

import numpy as np

from hpt_ros.model import PolicyRunner
from hpt_ros.nodes.policy_node import PolicyNode
from hpt_ros.nodes.policy_source import CheckpointSource
from hpt_ros.nodes.runtime import run_node

SWING_RAD = 0.2
SWING_HZ = 0.4
SLOW_S = 0.8
_slow = threading.Event()


class Swinging(PolicyRunner):
    """Always moving: the joints swing one after another."""

    def act(self, observation: Any, committed: Any = None) -> Any:
        super().act(observation)
        time.sleep(SLOW_S if _slow.is_set() else 0.0)
        policy = self.embodiment.policy
        due_s = (observation.tick_ns + policy.period_ns * np.arange(1, policy.action_horizon + 1)) * 1e-9
        joint = np.arange(len(self.embodiment.home_rad))
        swing = SWING_RAD * np.sin(2 * np.pi * SWING_HZ * due_s[:, None] + joint)
        return np.hstack([np.array(self.embodiment.home_rad) + swing, np.full((len(due_s), 1), 0.08)])


class SwingingSource(CheckpointSource):
    """The checkpoint, swinging."""

    runner = Swinging


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: _slow.set())
    signal.signal(signal.SIGUSR2, lambda *_: _slow.clear())
    sys.exit(run_node(partial(PolicyNode, SwingingSource)))
