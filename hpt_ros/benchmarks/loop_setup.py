"""The processes of `bench loop` and `bench soak`: the simulated Panda, the commander, a policy around home, the recorder."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hpt_ros.benchmarks import policy_scene
from hpt_ros.benchmarks.lock_watch import lock_waits, watch_control_thread
from hpt_ros.benchmarks.processes import Watched, process
from hpt_ros.benchmarks.standstill import explain, standstills, watch_processors
from hpt_ros.control.realtime import SHIPPED_PRIORITY
from hpt_ros.control.tick_times import HOST
from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to
from hpt_ros.errors import StreamError
from hpt_ros.model import save_checkpoint

SIZE = "small"
START_S = 120.0


@dataclass(frozen=True)
class SetUp:
    """Files in a folder, and processes in the ROS domain of the environment.

    `realtime`: the commander asks for SCHED_FIFO; `sim`: further parameters of the simulator, as NAME:=VALUE.
    """

    folder: Path
    rate_hz: float
    realtime: bool = False
    recorder: bool = False
    sim: tuple[str, ...] = ()

    @property
    def checkpoint(self) -> Path:
        """The policy's."""
        return self.folder / "checkpoint"

    def start(self, stack: ExitStack) -> dict[str, Watched]:
        """The processes by name, ended with the stack; the processors are watched meanwhile."""
        stack.enter_context(watch_processors(self.folder))
        robot, body = self.folder / "robot.yaml", embodiment(self.rate_hz)
        robot.write_text(yaml.safe_dump(embodiment_to(body)))
        save_checkpoint(self.checkpoint, _near_home(body), body, {})
        realtime = [f"realtime_priority:={SHIPPED_PRIORITY}"] if self.realtime else []
        own = {
            "sim": ("hpt_ros.sim.sim_node", self.sim),
            "commander": ("hpt_ros.nodes.commander_node", [f"timing_file:={self._times}", *realtime]),
            "policy": (
                "hpt_ros.nodes.policy_node",
                [f"checkpoint:={self.checkpoint}", f"threads:={len(os.sched_getaffinity(0))}"],
            ),
        }
        if self.recorder:
            own["recorder"] = ("hpt_ros.nodes.recorder_node", [f"bags_dir:={self.folder / 'bags'}"])
        watched = {}
        for name, (module, parameters) in own.items():
            arguments = [x for p in (f"embodiment:={robot}", *parameters) for x in ("-p", p)]
            watched[name] = Watched(stack.enter_context(process(module, "--ros-args", *arguments)))
        stack.enter_context(watch_control_thread(watched["commander"].process.pid, self.folder))
        return watched

    def finish(self, watched: dict[str, Watched]) -> dict[str, Any]:
        """End the commander; how well it kept its deadlines, as `TickTimes.to_mapping`."""
        commander = watched["commander"].process
        commander.send_signal(signal.SIGTERM)
        commander.wait(timeout=30)
        found: dict[str, Any] = json.loads(self._times.read_text())
        explain(found, {HOST: standstills(self.folder)} | lock_waits(self.folder))
        return found

    @property
    def _times(self) -> Path:
        return self.folder / "times.json"


def embodiment(rate_hz: float) -> Embodiment:
    """The Panda of `bench policy` at a control rate, patient with a machine that is saturated on purpose."""
    data = embodiment_to(policy_scene.embodiment())
    data["command"]["rate_hz"] = rate_hz
    data["policy"]["strategy"] = "blend"
    data["safety"]["policy_timeout_s"] = 1.0
    for stream in (data["joints"], data["gripper"], *data["cameras"]):
        stream["timing"]["max_age_s"] = 1.0
    return embodiment_from(data)


def _near_home(body: Embodiment) -> Any:
    """A policy of random weights whose actions stay around home."""
    policy = policy_scene.checkpoint(SIZE).policy
    rows = np.append(body.home_rad, 0.08) + np.random.default_rng(0).uniform(-0.02, 0.0, (50, len(body.action_names)))
    policy.scaling.fit(rows, rows)
    return policy


def keep_running(session: Any, patience_s: float) -> None:
    """Engage, and go on after a hold, as the person beside the arm would; wait so long until it runs.

    Raises:
        StreamError: it does not run.
    """
    end_s = time.monotonic() + patience_s
    while True:
        state = session.wait_for_status("commander", START_S).state
        if state == "RUNNING":
            return
        if wish := {"IDLE": "engage", "HOLDING": "resume", "FAULT": "reset"}.get(state):
            with suppress(StreamError):
                session.trigger(f"/hpt_ros/commander/{wish}")
        if time.monotonic() > end_s:
            if patience_s:
                raise StreamError(f"the arm does not run: {session.latest['commander'].reason}")
            return
        time.sleep(0.5)
