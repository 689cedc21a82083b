"""`hpt-ros bench limits`: whatever the chunks, the commanded motion is finite, continuous and inside every limit.

Chunks go the whole way: gate, state machine, schedule, strategy, limiter, message. HPT_ROS_CHUNKS sets how many.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpt_ros.benchmarks.limits_check import KINDS as LIMITS
from hpt_ros.benchmarks.limits_check import MotionCheck
from hpt_ros.benchmarks.limits_chunks import KINDS, MOTIONS, ChunkMaker
from hpt_ros.benchmarks.limits_tally import Tally
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport
from hpt_ros.control.commander import SETTLE_S, Commander
from hpt_ros.control.limiter import UnsafeRequestError
from hpt_ros.control.state_machine import State
from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.embodiment.schema import Workspace
from hpt_ros.errors import ConfigError, HptRosError

Array = NDArray[np.float64]

_CHUNKS, _QUICK_CHUNKS = 20_000, 600
_SCRIPT = 60  # chunks for one engagement
_PART = 3000  # chunks for one process at a time
_AIMED = 0.75
_OPEN = Workspace(
    (-1.0, 1.0), (-1.0, 1.0), (-0.2, 1.4)
)  # the table, the arm itself and its end stops are met before it
_START_NS = 10**15
_STRATEGIES: tuple[Literal["receding_horizon", "temporal_ensemble", "blend"], ...] = (
    "receding_horizon",
    "temporal_ensemble",
    "blend",
)


def robots() -> dict[str, Embodiment]:
    """The arms under test: presets, FR3's position-dependent speeds, and everything that the schema allows at most."""
    panda, fr3 = load_embodiment("sim_panda"), replace(load_embodiment("fr3"), robot_state=None)
    most = replace(panda.safety, workspace=_OPEN, velocity_fraction=1.0, acceleration_fraction=0.65, jerk_fraction=1.0)
    return {
        "panda": panda,
        "fr3": fr3,
        "fr3_full, 200 Hz": replace(
            fr3,
            safety=replace(fr3.safety, limits="fr3_full", workspace=_OPEN),
            command=replace(fr3.command, rate_hz=200),
        ),
        "panda, fastest": replace(panda, safety=most),
    }


class Trial:
    """One commander under fire; an arm that is exactly where it was told to be."""

    def __init__(self, embodiment: Embodiment, seed: int) -> None:
        self.embodiment, self.check = embodiment, MotionCheck(embodiment)
        self.rng = np.random.default_rng(seed)
        self.tally = Tally()
        self._period_ns = round(1e9 / embodiment.command.rate_hz)
        self._path_q: list[Array] = []
        self._path_dq: list[Array] = []

    def script(self, count: int, aim: str) -> None:
        """One engagement from a random posture, with `count` chunks: most of kind `aim`, until the arm is at its limits."""
        policy = replace(self.embodiment.policy, strategy=_STRATEGIES[self.rng.integers(3)])
        if policy.strategy == "blend":
            policy = replace(policy, execute_rows=1)  # every chunk takes over at once
        self._commander = Commander(replace(self.embodiment, policy=policy))
        self._maker = ChunkMaker(self.embodiment, self.rng)
        self._now_ns = _START_NS
        self._engage()
        for _ in range(count):
            kind = aim if self.rng.random() < _AIMED else KINDS[self.rng.integers(len(KINDS))]
            self._revive()
            self._offer(kind)
            self._tick(int(self.rng.integers(1, 9) * self.embodiment.command.rate_hz / 100))
        self._tick(3)
        self._judge()
        self.tally.rejected.update(self._commander.rejections)
        self.tally.limits.update(self._commander.limit_ticks)

    def _engage(self) -> None:
        """Somewhere near home that the limiter accepts."""
        home = np.array(self.embodiment.home_rad)
        while self._commander.state is not State.ENGAGING:
            self._q, self._dq = home + self.rng.uniform(-0.4, 0.4, len(home)), np.zeros(len(home))
            self._measure()
            try:
                self._commander.engage(self._now_ns)
            except UnsafeRequestError:
                continue
        self._begin_path()
        self._tick(round(SETTLE_S * 1e9 / self._period_ns) + 1)

    def _begin_path(self) -> None:
        self._start, self._path_q, self._path_dq = self._q.copy(), [], []

    def _revive(self) -> None:
        """What a person would do who wants to see more of it."""
        commander = self._commander
        if commander.state is State.FAULT:
            self.tally.faults[commander.reason] += 1
            commander.reset()
        try:
            if commander.state is State.HOLDING:
                commander.resume(self._now_ns)
            elif commander.state is State.IDLE:
                self._judge()
                self._dq = np.zeros_like(self._dq)
                self._measure()
                commander.engage(self._now_ns)
                self._begin_path()
                self._tick(round(SETTLE_S * 1e9 / self._period_ns) + 1)
        except HptRosError as error:
            self.tally.faults[error.message] += 1
        if commander.state is State.ENGAGING:
            commander.on_chunk(self._maker.good(self._q, self._now_ns), self._now_ns)

    def _offer(self, kind: str) -> None:
        self.tally.chunks += 1
        self.tally.taken += self._commander.on_chunk(self._maker.make(kind, self._q, self._now_ns), self._now_ns)

    def _measure(self) -> None:
        self._commander.on_joints(self._now_ns, self._q, self._dq, self._now_ns)
        if self.embodiment.gripper:
            self._commander.on_gripper(0.08)

    def _tick(self, count: int) -> None:
        for _ in range(count):
            began = time.thread_time()
            output = self._commander.tick(self._now_ns)
            self.tally.tick_s.append(time.thread_time() - began)
            self.tally.ticks += 1
            if output.arm and output.label:
                self._path_q.append(output.label.position[: len(self._q)])
                self._path_dq.append(output.label.velocity[: len(self._q)])
                self._q, self._dq = output.arm.points[0][1], output.arm.points[0][2]
                if self.tally.ticks % 7 == 0:  # the whole message, down to where its brake ends
                    self.check.postures_free(np.array([q for _, q, _ in output.arm.points]))
            self._now_ns += self._period_ns
            self._measure()

    def _judge(self) -> None:
        if self._path_q:
            self.check.motion(np.array(self._path_q), np.array(self._path_dq), self._start)
            self._path_q, self._path_dq = [], []


def run(quick: bool, say: Say) -> BenchReport:
    """Shoot at every robot, on every core, each part of it in a process of its own."""
    chunks, names = _wanted(quick), list(robots())
    each = chunks // len(names)
    say(f"{each} chunks each for {', '.join(names)}")
    parts = [
        (robot, part, min(_PART, each - part * _PART))
        for part in range(-(-each // _PART))
        for robot in range(len(names))
    ]
    tallies = [Tally() for _ in names]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), max_workers=len(os.sched_getaffinity(0))) as pool:
        for (robot, *_), tally in zip(parts, pool.map(_shoot, *zip(*parts, strict=True)), strict=True):
            whole = tallies[robot]
            whole.add(tally)
            say(f"{names[robot]}: {whole.chunks} chunks, {whole.ticks} ticks, {whole.passed.total()} limits passed")
    rows, goals, notes = [], [], []
    for name, tally in zip(names, tallies, strict=True):
        rows.append(tally.row(name))
        goals += tally.goals(name)
        notes += tally.notes(name)
    notes.append("tick times are processor time of one thread, of the whole commander without ROS")
    return BenchReport("limits", {"chunks": chunks, "limits": list(LIMITS)}, rows, goals=goals, notes=notes)


def _shoot(robot: int, part: int, chunks: int) -> Tally:
    """One part of what is shot at one robot; both numbers are the seed, and say which motions come first."""
    trial, first = Trial(list(robots().values())[robot], robot + part * len(robots())), 2 * robot + part
    for number in range(first, first + -(-chunks // _SCRIPT)):
        trial.script(_SCRIPT, MOTIONS[number % len(MOTIONS)])
    return trial.tally.judged(trial.check)


def _wanted(quick: bool) -> int:
    text = os.environ.get("HPT_ROS_CHUNKS", "")
    if not text:
        return _QUICK_CHUNKS if quick else _CHUNKS
    if not text.isdecimal() or int(text) < len(robots()):
        raise ConfigError("HPT_ROS_CHUNKS", text, f"a whole number, at least {len(robots())}")
    return int(text)
