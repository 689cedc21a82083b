"""`hpt-ros bench limits`: whatever the chunks, the commanded motion is finite, continuous and inside every limit.

Chunks go the whole way: gate, state machine, schedule, strategy, limiter, message. HPT_ROS_CHUNKS sets how many.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import cycle, repeat
from multiprocessing import get_context
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpt_ros.benchmarks.limits_check import KINDS as LIMITS
from hpt_ros.benchmarks.limits_check import MotionCheck
from hpt_ros.benchmarks.limits_chunks import KINDS, MOTIONS, ChunkMaker
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal, percentiles_ms
from hpt_ros.control.commander import SETTLE_S, Commander
from hpt_ros.control.limiter import UnsafeRequestError
from hpt_ros.control.state_machine import State
from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.embodiment.schema import Workspace
from hpt_ros.errors import ConfigError, HptRosError

Array = NDArray[np.float64]

_CHUNKS, _QUICK_CHUNKS = 20_000, 600
_SCRIPT = 60  # chunks for one engagement
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
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()
        self.chunks = self.ticks = 0
        self.tick_s: list[float] = []
        self.faults: Counter[str] = Counter()
        self._period_ns = round(1e9 / embodiment.command.rate_hz)
        self._path_q: list[Array] = []
        self._path_dq: list[Array] = []

    def script(self, count: int, aim: str) -> None:
        """One engagement from a random posture, with `count` chunks: most of kind `aim`, until the arm is at its limits."""
        policy = replace(self.embodiment.policy, strategy=_STRATEGIES[self.rng.integers(3)])
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
        self.rejected.update(self._commander.rejections)
        self.limits.update(self._commander.limit_ticks)

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
            self.faults[commander.reason] += 1
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
            self.faults[error.message] += 1
        if commander.state is State.ENGAGING:
            commander.on_chunk(self._maker.good(self._q, self._now_ns), self._now_ns)

    def _offer(self, kind: str) -> None:
        self.chunks += 1
        taken = self._commander.on_chunk(self._maker.make(kind, self._q, self._now_ns), self._now_ns)
        self.accepted[kind] += taken

    def _measure(self) -> None:
        self._commander.on_joints(self._now_ns, self._q, self._dq, self._now_ns)
        if self.embodiment.gripper:
            self._commander.on_gripper(0.08)

    def _tick(self, count: int) -> None:
        for _ in range(count):
            began = time.thread_time()
            output = self._commander.tick(self._now_ns)
            self.tick_s.append(time.thread_time() - began)
            self.ticks += 1
            if output.arm and output.label:
                self._path_q.append(output.label.position[: len(self._q)])
                self._path_dq.append(output.label.velocity[: len(self._q)])
                self._q, self._dq = output.arm.points[0][1], output.arm.points[0][2]
                if self.ticks % 7 == 0:  # the whole message, down to where its brake ends
                    self.check.postures_free(np.array([q for _, q, _ in output.arm.points]))
            self._now_ns += self._period_ns
            self._measure()

    def _judge(self) -> None:
        if self._path_q:
            self.check.motion(np.array(self._path_q), np.array(self._path_dq), self._start)
            self._path_q, self._path_dq = [], []


def run(quick: bool, say: Say) -> BenchReport:
    """Shoot at every robot, each in a process of its own."""
    chunks = _wanted(quick)
    each = chunks // len(robots())
    say(f"{each} chunks each for {', '.join(robots())}")
    rows, goals, notes = [], [], []
    with ProcessPoolExecutor(mp_context=get_context("spawn"), max_workers=len(os.sched_getaffinity(0))) as pool:
        for row, its_goals, its_notes in pool.map(_shoot, range(len(robots())), repeat(each)):
            say(f"{row['robot']}: {row['ticks']} ticks, {row['passed']} limits passed")
            rows.append(row)
            goals += its_goals
            notes += its_notes
    notes.append("tick times are processor time of one thread, of the whole commander without ROS")
    return BenchReport("limits", {"chunks": chunks, "limits": list(LIMITS)}, rows, goals=goals, notes=notes)


def _shoot(number: int, chunks: int) -> tuple[dict[str, object], list[Goal], list[str]]:
    """The row, goals and notes of one robot, which is also the seed."""
    name, embodiment = list(robots().items())[number]
    trial = Trial(embodiment, number)
    for aim in cycle(MOTIONS[2 * number :] + MOTIONS[: 2 * number]):
        if trial.chunks >= chunks:
            break
        trial.script(_SCRIPT, aim)
    found = {kind: count for kind, count in trial.check.passed.items() if count}
    goals = [
        Goal(f"{name}: limits passed", float(sum(found.values())), 0.0),
        Goal(f"{name}: faults", float(trial.faults.total()), 0.0),
    ]
    notes = [f"{name}: passed {found}"] if found else []
    notes += [f"{name}: {reason} ({count} times)" for reason, count in trial.faults.items()]
    notes.append(f"{name}: refused {dict(trial.rejected)}; limited by {dict(trial.limits)}")
    return _row(name, trial), goals, notes


def _wanted(quick: bool) -> int:
    text = os.environ.get("HPT_ROS_CHUNKS", "")
    if not text:
        return _QUICK_CHUNKS if quick else _CHUNKS
    if not text.isdecimal() or int(text) < len(robots()):
        raise ConfigError("HPT_ROS_CHUNKS", text, f"a whole number, at least {len(robots())}")
    return int(text)


def _row(name: str, trial: Trial) -> dict[str, object]:
    used, times = trial.check.used, percentiles_ms(trial.tick_s)
    return {
        "robot": name,
        "chunks": trial.chunks,
        "taken": trial.accepted.total(),
        "ticks": trial.ticks,
        **{f"{kind}": used[kind] for kind in ("velocity", "acceleration", "jerk")},
        **{f"{kind} left mm": used[kind] * 1e3 for kind in ("workspace", "table", "self-collision")},
        "passed": sum(trial.check.passed.values()),
        "tick p50 ms": times["p50_ms"],
        "tick p99 ms": times["p99_ms"],
    }
