"""Hours of the whole loop with the recorder: memory must stay flat, and every missed deadline of the control thread has a cause."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from hpt_ros.benchmarks.loop_setup import START_S, SetUp, keep_running
from hpt_ros.benchmarks.processes import Watched, require_alive
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal
from hpt_ros.benchmarks.strain import Strain
from hpt_ros.bringup.attach import require_ros
from hpt_ros.bringup.domain import DomainLock
from hpt_ros.bringup.environment import node_environment
from hpt_ros.control.realtime import SHIPPED_PRIORITY, permissions, permitted_priority
from hpt_ros.control.tick_times import MISSED_S, UNEXPLAINED
from hpt_ros.errors import StreamError

FULL_S, QUICK_S = 3600.0, 30.0
RATE_HZ = 100.0
GROWTH_GOAL_MB = 16.0
SLOPE_GOAL_MB_H = 8.0
SLOPE_FROM_S = 1800.0
"""Shorter runs show a slope too, of what a process still warms up by; it is judged from here on."""
_EPISODE_S, _ANSWER_S = 60.0, 30.0
_PICTURE = ("image_height:=120", "image_width:=160")  # an hour of full ones is 200 GB


def run(quick: bool, say: Say, seconds: float | None = None) -> BenchReport:
    """An hour (quick: half a minute), or `seconds`. Recorded episodes are discarded one after the other.

    Raises:
        MissingDependencyError: no ROS 2.
    """
    require_ros()
    length_s = seconds or (QUICK_S if quick else FULL_S)
    say(f"sim, commander, policy and recorder: {length_s / 60:g} min")
    with tempfile.TemporaryDirectory(prefix="bench_soak_") as folder, DomainLock.any_free() as lock:
        os.environ.update(node_environment(lock.domain_id, Path(folder)))
        return _report(length_s, *_soak(Path(folder), lock.domain_id, length_s, say))


def _soak(
    folder: Path, domain_id: int, seconds: float, say: Say
) -> tuple[dict[str, Any], dict[str, Watched], list[Strain], int]:
    """The commander's times, the processes, the machine second by second, and how many episodes were recorded."""
    from hpt_ros.nodes.session import Session

    setup = SetUp(folder, RATE_HZ, _realtime(), recorder=True, sim=_PICTURE)
    strains: list[Strain] = []
    with ExitStack() as stack:
        watched = setup.start(stack)
        session = stack.enter_context(Session(lambda: require_alive(watched), domain_id))
        keep_running(session, START_S)
        commander, episodes = watched["commander"].process.pid, 0
        begin_s = said_s = time.monotonic()
        while (now_s := time.monotonic()) < begin_s + seconds:
            time.sleep(1.0)
            require_alive(watched)
            for item in watched.values():
                item.sample()
            strains.append(Strain.now(commander))
            keep_running(session, 0.0)
            episodes += _record(session, seconds)
            if now_s - said_s > 300.0:
                said_s = now_s
                say(f"{(now_s - begin_s) / 60:.0f} min: {', '.join(_memory(watched))}")
        times = setup.finish(watched)
    return times, watched, strains, episodes


def _realtime() -> bool:
    """Whether the commander gets the priority that the launch files ask for."""
    return permitted_priority() == SHIPPED_PRIORITY


def _memory(watched: dict[str, Watched]) -> list[str]:
    return [f"{name} {item.samples[-1][2]:.0f} MB" for name, item in watched.items()]


def _record(session: Any, seconds: float) -> int:
    """Start an episode, or discard one that is long enough; how many have begun by it. What is refused is tried again."""
    from hpt_ros.srv import StartEpisode

    status = session.latest.get("recorder")
    if status is None:
        return 0
    with suppress(StreamError):  # a busy machine misses a stream's rate for a while
        if status.state != "RECORDING":
            session.call(
                StartEpisode, "/hpt_ros/recorder/start", StartEpisode.Request(task="soak"), timeout_s=_ANSWER_S
            )
            return 1
        if status.duration_s >= min(_EPISODE_S, seconds / 3):
            session.trigger("/hpt_ros/recorder/discard", _ANSWER_S)
    return 0


def _report(
    seconds: float, times: dict[str, Any], watched: dict[str, Watched], strains: Sequence[Strain], episodes: int
) -> BenchReport:
    missed = times["missed"]
    memory = [item.row(name) for name, item in watched.items()]
    report = BenchReport("soak", {"minutes": round(seconds / 60, 1), "rate_hz": RATE_HZ, "episodes": episodes}, [])
    report.rows.extend(memory)
    report.rows.append(
        {"what": "lateness", **times["lateness"], "ticks": times["ticks"], "missed": sum(missed.values())}
    )
    report.rows.append({"what": "work", **times["work"]})
    report.settings["missed"] = missed
    report.settings["worst"] = [miss | what_happened(strains, miss["at_s"]) for miss in times["worst"]]
    report.settings["memory_mb"] = {name: item.memory_every(60.0) for name, item in watched.items()}
    worst = max(memory, key=lambda row: float(row["growth_mb"]))
    report.goals.append(
        Goal(f"growth of memory after warm-up, MB ({worst['what']})", worst["growth_mb"], GROWTH_GOAL_MB)
    )
    if seconds >= SLOPE_FROM_S:
        steep = max(memory, key=lambda row: float(row["slope_mb_h"]))
        report.goals.append(Goal(f"slope of memory, MB/h ({steep['what']})", steep["slope_mb_h"], SLOPE_GOAL_MB_H))
    report.goals.append(Goal("missed deadlines without an explanation", missed.get(UNEXPLAINED, 0), 0))
    report.notes.extend(
        (
            f"missed: a control tick that begins or lasts more than {MISSED_S * 1e3:g} ms too long; `worst` in the JSON lists the worst with their cause "
            "and what the machine did in that second: load, stolen time, the commander's page faults and involuntary switches",
            f"{f'realtime_priority {SHIPPED_PRIORITY}' if _realtime() else 'without real-time priority'} ({permissions()})",
            "slope: least squares over the time after warm-up",
        )
    )
    return report


def what_happened(strains: Sequence[Strain], at_s: float) -> dict[str, float]:
    """What the machine did in the second (Unix time `at_s`) of a missed deadline; empty before the first and after the last sample."""
    after = next((i for i, strain in enumerate(strains) if strain.at_s >= at_s), 0)
    return strains[after].since(strains[after - 1]) if after else {}
