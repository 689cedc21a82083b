"""The simulated Panda, a fault relay, a policy and the commander as processes, and what every fault must lead to."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fault_relay import SOURCE
from lateness import Lateness

from hpt_ros.control.horizon import LEAD_TICKS
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, load_embodiment
from hpt_ros.errors import StreamError

HERE = Path(__file__).parent
MS = 1_000_000
WAIT_S = 60.0
BUDGET_S, ALLOWANCE_S, FROZEN_S, TIMEOUT_S = 0.5, 0.15, 0.5, 0.5
MOVING_RAD_S = 0.15
ATTEMPTS = 4
BUSY_S = 0.1
"""A machine that wakes a thread or delivers a message so late has spoiled an attempt, if that failed; one that spoils all cannot judge."""


def embodiment() -> Embodiment:
    """sim_panda at rates and with budgets that a shared machine bears, its cameras taken for real ones."""
    data = embodiment_to(load_embodiment("sim_panda"))
    for stream in (data["joints"], data["gripper"], *data["cameras"]):
        stream["timing"] |= {"max_age_s": BUDGET_S, "allowance_s": ALLOWANCE_S}
    data["joints"]["timing"]["rate_hz"] = 100
    for camera in data["cameras"]:
        camera["size_px"] = [16, 16]
        camera["timing"] |= {"rate_hz": 10, "frozen_after_s": FROZEN_S}
    data["safety"]["policy_timeout_s"] = TIMEOUT_S
    if find_spec("franka_msgs"):
        topic, msgtype = "/franka_robot_state_broadcaster/robot_state", "franka_msgs/msg/FrankaRobotState"
        data["robot_state"] = {"topic": topic, "msgtype": msgtype, "max_age_s": BUDGET_S}
    return embodiment_from(data)


ROBOT = embodiment()
TICK_NS = round(1e9 / ROBOT.command.rate_hz)


@dataclass(frozen=True)
class Stop:
    """A motion that ended: when the commander decided so, how long after the last good sample, for what reason, in which
    state, and its labels from there on.
    """

    decided_ns: int
    took_s: float
    reason: str
    state: str
    labels: list[Any]


class Stand:
    """One bring-up for many faults."""

    def __init__(self, env: dict[str, str], folder: Path, session: Any) -> None:
        from hpt_ros.msg import ActionChunk, Command, CommanderStatus, PolicyStatus

        from hpt_ros.nodes.runtime import RELIABLE_10

        self._env, self._folder, self.session = env, folder, session
        self.labels: list[Any] = []
        self.chunks: list[Any] = []
        self.statuses: list[Any] = []
        self._policy_statuses: list[Any] = []
        self.processes: dict[str, subprocess.Popen[str]] = {}
        for kind, topic, found in (
            (Command, ROBOT.command.record_topic, self.labels),
            (ActionChunk, "/hpt_ros/action_chunk", self.chunks),
            (CommanderStatus, "/hpt_ros/commander/status", self.statuses),
            (PolicyStatus, "/hpt_ros/policy/status", self._policy_statuses),
        ):
            session.node.create_subscription(kind, topic, found.append, RELIABLE_10)
        self._lateness = Lateness()
        self._source_late_s = 0.0
        self._began_ns = 0
        self._write_files()
        for name in ("sim", "relay", "commander", "policy"):
            self.start(name)

    def _write_files(self) -> None:
        from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint

        source = replace(
            ROBOT,
            robot_state=None,
            joints=replace(ROBOT.joints, topic=SOURCE + ROBOT.joints.topic),
            gripper=replace(ROBOT.gripper, topic=SOURCE + ROBOT.gripper.topic),
            cameras=tuple(replace(camera, topic=SOURCE + camera.topic) for camera in ROBOT.cameras),
        )
        for name, robot in (("robot", ROBOT), ("source", source)):
            (self._folder / f"{name}.yaml").write_text(yaml.safe_dump(embodiment_to(robot)))
        policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), ROBOT)
        rows = np.append(ROBOT.home_rad, 0.08) + np.random.default_rng(0).uniform(-0.3, 0.3, (50, 8))
        policy.scaling.fit(rows, rows)
        save_checkpoint(self._folder / "checkpoint", policy.eval(), ROBOT, {})

    # Processes

    def start(self, name: str) -> None:
        robot, source = self._folder / "robot.yaml", self._folder / "source.yaml"
        parameters = {
            "sim": [f"embodiment:={source}", "image_height:=48", "image_width:=64"],
            "commander": [f"embodiment:={robot}"],
            "policy": [f"embodiment:={robot}", f"checkpoint:={self._folder / 'checkpoint'}"],
        }
        if name == "relay":
            command = [str(HERE / "fault_relay.py"), str(robot)]
        else:
            run = {
                "sim": ["-m", "hpt_ros.sim.sim_node"],
                "commander": ["-m", "hpt_ros.nodes.commander_node"],
                "policy": [str(HERE / "swinging_policy.py")],
            }[name]
            command = [*run, "--ros-args", *(x for p in parameters[name] for x in ("-p", p))]
        with (self._folder / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if name == "relay" else log,
                stderr=log,
                text=True,
            )

    def kill(self, name: str) -> None:
        """As a crash would."""
        child = self.processes.pop(name)
        child.kill()
        child.wait()

    def send(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def close(self) -> None:
        self._lateness.close()
        for child in self.processes.values():
            child.send_signal(signal.SIGCONT)
            child.terminate()
        for child in self.processes.values():
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def check(self) -> None:
        """What `Session` calls while it waits."""
        for name, child in self.processes.items():
            if child.poll() is not None:
                raise AssertionError(f"{name} ended:\n{(self._folder / f'{name}.log').read_text()[-3000:]}")

    # Motion

    @property
    def status(self) -> Any:
        return self.session.latest["commander"]

    def fault(self, stream: str, name: str, seconds: float = 0.0) -> int:
        """Switch the relay; the stamp of the last message that went through unharmed."""
        child = self.processes["relay"]
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"stream": stream, "fault": name, "seconds": seconds}) + "\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline())
        self._source_late_s = max(self._source_late_s, answer["late_s"])
        return int(answer["stamp_ns"])

    def get_moving(self) -> None:
        """Whatever state it is in: a person's wishes until the arm follows the policy, fast enough for a stop to show."""

        wish_s = 0.0

        def moving() -> bool:
            nonlocal wish_s
            state = self.status.state
            wish = {"FAULT": "reset", "IDLE": "engage", "HOLDING": "resume"}.get(state)
            if wish and time.monotonic() > wish_s and (state != "HOLDING" or self._waits_for_a_person()):
                wish_s = time.monotonic() + 0.5
                with suppress(StreamError):  # refused: it has gone on by itself, or cannot yet
                    self.session.trigger(f"/hpt_ros/commander/{wish}")
            return state == "RUNNING" and self._speed() > MOVING_RAD_S and self._running_for_s() > 0.1

        for name in ("sim", "commander", "policy"):
            self.session.wait_for_status(name, WAIT_S)
        self.session.wait_for("fresh streams", lambda: self.session.latest["policy"].state == "RUNNING", WAIT_S)
        self.session.wait_for("motion", moving, WAIT_S)

    def _waits_for_a_person(self) -> bool:
        """The grace is over."""
        began = next(s for s in reversed(self.statuses) if s.state != "HOLDING")
        return stamp(self.status) - stamp(began) > 2.2e9

    def _running_for_s(self) -> float:
        before = next((s for s in reversed(self.statuses) if s.state != "RUNNING"), None)
        return (stamp(self.status) - stamp(before)) * 1e-9 if before else 0.0

    def _speed(self) -> float:
        label = self.labels[-1]
        fresh = abs(self.session.node.get_clock().now().nanoseconds - stamp(label)) < 0.2e9
        return float(np.abs(label.velocity).max()) if fresh and label.source == "policy" else 0.0

    # What must happen

    def stops(self, cause: Callable[[], int], cure: Callable[[], Any], budget_s: float, reason: str) -> Stop:
        """The stop that `cause` leads to; it returns the stamp of the last good sample.

        From there the decision must come within the budget and what the machine was late by in that time; the reason
        must match; the arm must decelerate from the first such tick, and rest. Then `cure`.
        """
        missed: list[str] = []
        while len(missed) < ATTEMPTS:
            self.get_moving()
            mark, seen = len(self.labels), len(self.statuses)
            self._begin_attempt()
            good_ns = cause()
            try:
                stop = self._await_stop(mark, seen, good_ns)
            finally:
                cure()
            late_s = self._late_s(stop.decided_ns)
            self.check_limits(mark)
            if stop.took_s <= budget_s + late_s and re.search(reason, stop.reason):
                decelerates(stop.labels)
                return stop
            missed.append(
                f"{stop.took_s * 1e3:.0f} ms of {budget_s * 1e3:.0f} + {late_s * 1e3:.0f} ms, {stop.reason!r}"
            )
            spoiled = late_s > BUSY_S and stop.took_s < 2 * (budget_s + late_s)
            assert spoiled, f"not {reason!r} in time: {'; '.join(missed)}"
        pytest.skip(f"the machine is too busy: {'; '.join(missed)}")

    def _begin_attempt(self) -> None:
        self.fault("joints", "none")
        self._lateness.worst_s = self._source_late_s = 0.0
        self._began_ns = self._now_ns()

    def _now_ns(self) -> int:
        return int(self.session.node.get_clock().now().nanoseconds)

    def _late_s(self, until_ns: int) -> float:
        """What this machine was late by: threads, the control thread, the simulated robot's messages, the policy."""
        self.fault("joints", "none")  # the relay's answer tells how late the robot's messages were
        policy_late_s = self._policy_late_s(until_ns)
        return self._lateness.worst_s + self.status.lateness_max_ms / 1e3 + self._source_late_s + policy_late_s

    def _policy_late_s(self, until_ns: int) -> float:
        """Between two ticks of the attempt, with an observation or without. A policy that the test stops ticks no more."""
        ticks = [*map(observation_ns, self.chunks), *map(stamp, self._policy_statuses)]
        ticks = sorted(tick for tick in ticks if self._began_ns <= tick <= until_ns)
        worst_ns = max((after - before for before, after in pairwise(ticks)), default=0)
        return max(worst_ns - ROBOT.policy.period_ns, 0) * 1e-9

    def _await_stop(self, mark: int, seen: int, good_ns: int) -> Stop:
        def rest() -> bool:
            return self.labels[-1].source == "hold" and not np.any(self.labels[-1].velocity)

        def stopped() -> Any:
            return next((s for s in self.statuses[seen:] if s.state in ("HOLDING", "FAULT")), None)

        end = self.session.wait_for("a stop", stopped, WAIT_S)
        if end.state == "HOLDING":
            self.session.wait_for("rest", rest, WAIT_S)
        first = next(
            (i for i, label in enumerate(self.labels[mark:], mark) if label.source == "hold"), len(self.labels)
        )
        decided_ns = stamp(self.labels[first]) - LEAD_TICKS * TICK_NS if first < len(self.labels) else stamp(end)
        return Stop(decided_ns, (decided_ns - good_ns) * 1e-9, end.reason, end.state, self.labels[first - 1 :])

    def goes_on(self, cause: Callable[[], Any], cure: Callable[[], Any], seconds: float = 0.8) -> list[Any]:
        """Nothing stops for so long; the labels of that time."""
        for _ in range(ATTEMPTS):
            self.get_moving()
            self._begin_attempt()
            mark, seen, end_s = len(self.labels), len(self.statuses), time.monotonic() + seconds
            cause()
            self.session.wait_for("the end of the fault", lambda end_s=end_s: time.monotonic() > end_s, WAIT_S)
            enough = mark + seconds * ROBOT.command.rate_hz / 4
            self.session.wait_for(
                "its labels", lambda n=enough: len(self.labels) > n or self.status.state != "RUNNING", WAIT_S
            )
            cure()
            self.check_limits(mark)
            stops = [s.reason for s in self.statuses[seen:] if s.state != "RUNNING"]
            if not stops:
                return self.labels[mark:]
            assert self._late_s(self._now_ns()) > BUSY_S, f"stopped: {stops}"
        pytest.skip(f"the machine is too busy: {stops}")

    def check_limits(self, mark: int = 0) -> None:
        """Every command since `mark` is inside the robot's table at the fractions of the embodiment."""
        inside_limits(self.labels[max(mark - 3, 0) :])  # a copy: others follow meanwhile


def stamp(message: Any) -> int:
    return int(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)


def observation_ns(chunk: Any) -> int:
    return int(chunk.observation_stamp.sec * 10**9 + chunk.observation_stamp.nanosec)


def inside_limits(labels: list[Any]) -> None:
    """Position, velocity, acceleration and jerk by divided differences of the commanded states, gap or not between them."""
    safety, table = ROBOT.safety, TABLES[ROBOT.safety.limits]
    few = 1 + 1e-3
    t = np.array([stamp(label) for label in labels]) * 1e-9
    q, dq = (np.array([getattr(label, name)[:7] for label in labels]) for name in ("position", "velocity"))
    assert np.isfinite(q).all()
    assert (q >= np.array(table.position_min) + safety.position_margin_rad - 1e-6).all()
    assert (q <= np.array(table.position_max) - safety.position_margin_rad + 1e-6).all()
    velocity, acceleration, jerk = (
        few * fraction * np.array(limit)
        for fraction, limit in (
            (safety.velocity_fraction, table.velocity),
            (safety.acceleration_fraction, table.acceleration),
            (safety.jerk_fraction, table.jerk),
        )
    )
    assert (np.abs(dq) <= velocity).all()
    dt = np.diff(t)[:, None]
    ours = ((dt > 0.005) & (dt < 0.25))[:, 0]  # else the arm was taken over anew in between
    ddq = np.diff(dq, axis=0) / dt
    assert (np.abs(np.diff(q, axis=0) / dt)[ours] <= velocity).all()
    assert (np.abs(ddq)[ours] <= acceleration).all()
    dddq = 2 * np.diff(ddq, axis=0) / (dt[1:] + dt[:-1])
    assert (np.abs(dddq)[ours[1:] & ours[:-1]] <= jerk).all()


def decelerates(labels: list[Any]) -> None:
    """From the second command on every joint only gets slower (the first takes back what acceleration there was)."""
    speed = np.abs([label.velocity for label in labels if label.source == "hold"])
    if len(speed):
        assert all((b <= a + 1e-6).all() for a, b in pairwise(speed))
