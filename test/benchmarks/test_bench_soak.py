"""The soak's judgement by hand; its processes are those of `bench loop` (test_bench_loop.py) and the recorder."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from hpt_ros.benchmarks import soak
from hpt_ros.benchmarks.processes import Watched
from hpt_ros.benchmarks.strain import Strain
from hpt_ros.control.tick_times import PROCESSOR, UNEXPLAINED
from hpt_ros.errors import StreamError


def watched(*memory_mb: float) -> Watched:
    """One sample a second."""
    item = Watched(None)  # type: ignore[arg-type]
    item.samples = [(float(i), 0.1 * i, mb) for i, mb in enumerate(memory_mb)]
    return item


def times(**missed: int) -> dict[str, Any]:
    figures = {"p50_ms": 0.1, "p99_ms": 1.0, "p99.9_ms": 2.0, "max_ms": 12.0}
    worst = [{"late_s": 0.012, "at_s": 101.5, "cause": cause} for cause in missed]
    return {"ticks": 1000, "lateness": figures, "work": figures, "missed": missed, "worst": worst}


STRAINS = [Strain(100.0 + i, 1.0 + i, 0.25 * i, 3 * i, 10 * i) for i in range(3)]


def goals(seconds: float, missed: dict[str, int], memory: Watched) -> dict[str, bool]:
    report = soak._report(seconds, times(**missed), {"commander": memory}, STRAINS, 2)
    return {goal.what.partition(",")[0]: goal.reached for goal in report.goals}


def test_memory_that_grows_and_a_miss_without_a_cause_are_seen() -> None:
    flat, growing = [100.0] * 100, [100.0 + 0.01 * i for i in range(100)]
    assert all(goals(3600, {PROCESSOR: 3}, watched(*flat)).values())
    assert goals(3600, {}, watched(*growing))["slope of memory"] is False
    assert "slope of memory" not in goals(300, {}, watched(*growing)), "too short to judge it"
    assert goals(300, {}, watched(*flat, 130.0))["growth of memory after warm-up"] is False
    assert goals(300, {UNEXPLAINED: 1}, watched(*flat))["missed deadlines without an explanation"] is False


def test_the_slope_is_per_hour() -> None:
    assert watched(*(50.0 + 0.001 * i for i in range(100))).row("x")["slope_mb_h"] == pytest.approx(3.6)


def test_a_miss_is_told_with_what_the_machine_did_in_that_second() -> None:
    (miss,) = soak._report(300, times(**{PROCESSOR: 1}), {"commander": watched(1.0, 1.0)}, STRAINS, 0).settings["worst"]
    assert miss["cause"] == PROCESSOR
    happened = {"load": 3.0, "stolen_ms": 250, "major_faults": 3, "involuntary_switches": 10}
    assert {key: miss[key] for key in happened} == happened
    assert soak.what_happened(STRAINS, 99.0) == soak.what_happened(STRAINS, 200.0) == {}


def test_strain_is_read_of_a_process_that_works() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = Strain.now(child.pid)
        since = Strain.now(child.pid).since(before)
    finally:
        child.kill()
        child.wait()
    assert before.load > 0
    assert all(count >= 0 for count in since.values())


class Recorder:
    """A session with a recorder that refuses until it is willing."""

    def __init__(self, state: str, duration_s: float = 0.0, willing: bool = True) -> None:
        self.latest = {"recorder": SimpleNamespace(state=state, duration_s=duration_s)}
        self.asked: list[str] = []
        self._willing = willing

    def call(self, _: object, name: str, *__: object, **___: object) -> None:
        self.trigger(name)

    def trigger(self, name: str, *_: object) -> None:
        self.asked.append(name.rpartition("/")[2])
        if not self._willing:
            raise StreamError("a stream is too slow")


@pytest.mark.parametrize(
    ("recorder", "asked", "began"),
    [
        (Recorder("IDLE"), ["start"], 1),
        (Recorder("IDLE", willing=False), ["start"], 0),
        (Recorder("RECORDING", 5.0), [], 0),
        (Recorder("RECORDING", 61.0), ["discard"], 0),
        (Recorder("RECORDING", 61.0, willing=False), ["discard"], 0),
    ],
)
def test_episodes_follow_each_other_and_a_refusal_ends_nothing(
    recorder: Recorder, asked: list[str], began: int
) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
    assert soak._record(recorder, 3600.0) == began
    assert recorder.asked == asked
