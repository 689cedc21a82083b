"""The whole loop over real DDS on the simulated Panda: how late the control thread is, how long a picture takes to become a command."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpt_ros.benchmarks import policy_scene
from hpt_ros.benchmarks.loop_setup import SIZE, START_S, SetUp, keep_running
from hpt_ros.benchmarks.loop_way import ChunkWays
from hpt_ros.benchmarks.processes import Watched, process, require_alive
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal
from hpt_ros.bringup.attach import require_ros
from hpt_ros.bringup.domain import DomainLock
from hpt_ros.bringup.environment import node_environment
from hpt_ros.control.realtime import SHIPPED_PRIORITY, permissions, permitted_priority
from hpt_ros.control.tick_times import MISSED_S, UNEXPLAINED

FULL_S, QUICK_S = 60.0, 8.0
LATENESS_GOAL_MS = 1.5


@dataclass(frozen=True)
class Phase:
    """Control rate, whether a second inference saturates every core, and whether the commander asks for real-time priority."""

    rate_hz: float
    saturated: bool
    realtime: bool = False

    @property
    def name(self) -> str:
        """For the table."""
        load = "saturated" if self.saturated else "one policy"
        return f"{self.rate_hz:g} Hz {load}{', SCHED_FIFO' if self.realtime else ''}"


PHASES = (Phase(100, False), Phase(100, True), Phase(100, True, realtime=True), Phase(200, True, realtime=True))
JUDGED = PHASES[2]


def run(quick: bool, say: Say, seconds: float | None = None) -> BenchReport:
    """Every phase for a minute (quick: 8 s), or for `seconds`.

    Raises:
        MissingDependencyError: no ROS 2.
    """
    require_ros()
    length_s = seconds or (QUICK_S if quick else FULL_S)
    phases = [phase for phase in PHASES if not phase.realtime or permitted_priority() == SHIPPED_PRIORITY]
    report = BenchReport("loop", {"seconds": length_s, "policy": f"{SIZE}, ResNet-18, two cameras"}, [])
    for phase in phases:
        say(f"{phase.name}: {length_s:g} s")
        with tempfile.TemporaryDirectory(prefix="bench_loop_") as folder, DomainLock.any_free() as lock:
            os.environ.update(node_environment(lock.domain_id, Path(folder)))
            _report(report, phase, _measure(phase, Path(folder), lock.domain_id, length_s))
    p99_ms = {row["phase"]: row["p99_ms"] for row in report.rows if row["what"] == "lateness"}
    plain = replace(JUDGED, realtime=False).name
    if {JUDGED.name, plain} <= p99_ms.keys():
        report.ratios["lateness p99 without SCHED_FIFO, against with it"] = p99_ms[plain] / p99_ms[JUDGED.name]
    report.notes.extend(
        (
            "lateness: from a control tick's deadline to its begin, every tick while the arm is commanded; work: of a tick",
            f"SCHED_FIFO: the commander with realtime_priority {SHIPPED_PRIORITY}; {permissions()}",
            "saturated: a second inference without a pause, with as many threads as there are cores",
            f"missed: a tick that begins or lasts more than {MISSED_S * 1e3:g} ms too long, by what most of that time was (/proc: schedstat, stat; a watcher on each processor)",
            "capture waits for the arrival allowance of the cameras; lead is how far ahead of now the commander commands",
        )
    )
    return report


@dataclass
class _Found:
    times: dict[str, Any]
    ways: ChunkWays
    processes: list[dict[str, Any]]


def _measure(phase: Phase, folder: Path, domain_id: int, seconds: float) -> _Found:
    setup = SetUp(folder, phase.rate_hz, phase.realtime)
    with ExitStack() as stack:
        watched = setup.start(stack)
        ways, session = stack.enter_context(_listening(watched, domain_id, 1 / phase.rate_hz))
        keep_running(session, START_S)
        if phase.saturated:
            cores = str(len(os.sched_getaffinity(0)))
            load = stack.enter_context(process("hpt_ros.benchmarks.loop_load", str(setup.checkpoint), cores))
            watched["load"] = Watched(load)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            require_alive(watched)
            for item in watched.values():
                item.sample()
            keep_running(session, 0.0)
            time.sleep(1.0)
        found = setup.finish(watched)
    return _Found(found, ways, [item.row(name) for name, item in watched.items()])


@contextmanager
def _listening(watched: dict[str, Watched], domain_id: int, period_s: float) -> Iterator[tuple[ChunkWays, Any]]:
    from hpt_ros.msg import ActionChunk, Command, PolicyStatus
    from hpt_ros.nodes.runtime import RELIABLE_10
    from hpt_ros.nodes.session import Session

    ways = ChunkWays(period_s)
    with Session(lambda: require_alive(watched), domain_id) as session:
        node = session.node
        for kind, topic, callback in (
            (PolicyStatus, "/hpt_ros/policy/status", ways.on_policy_status),
            (Command, policy_scene.embodiment().command.record_topic, ways.on_command),
            (ActionChunk, "/hpt_ros/action_chunk", lambda m: ways.on_chunk(m, node.get_clock().now().nanoseconds)),
        ):
            node.create_subscription(kind, topic, callback, RELIABLE_10)
        yield ways, session


def _report(report: BenchReport, phase: Phase, found: _Found) -> None:
    missed = found.times["missed"]
    counts = {"ticks": found.times["ticks"], "missed": sum(missed.values())}
    ticks = [{"what": "lateness", **found.times["lateness"], **counts}, {"what": "work", **found.times["work"]}]
    report.rows.extend({"phase": phase.name, **row} for row in (*ticks, *found.ways.rows(), *found.processes))
    report.settings[phase.name] = {name: found.times[name] for name in ("missed", "worst")}
    if phase == JUDGED:
        report.goals.append(
            Goal(f"{phase.name}: lateness p99, ms", found.times["lateness"]["p99_ms"], LATENESS_GOAL_MS)
        )
    report.goals.append(Goal(f"{phase.name}: missed deadlines without an explanation", missed.get(UNEXPLAINED, 0), 0))
