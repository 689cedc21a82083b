"""The loop's benchmark: one chunk's way by hand, and a short phase over real DDS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hpt_ros.benchmarks import loop
from hpt_ros.benchmarks.loop_way import ChunkWays
from hpt_ros.benchmarks.registry import run_benchmark
from hpt_ros.errors import ConfigError

pytestmark = pytest.mark.live

MS = 1_000_000


def at(ms: int) -> Any:
    return SimpleNamespace(sec=100, nanosec=ms * MS)


def test_a_chunks_way_is_put_together_from_stamps() -> None:
    ways = ChunkWays(0.01)
    for ms in range(0, 400, 10):
        ways.on_command(SimpleNamespace(header=SimpleNamespace(stamp=at(ms))))
    for tick_ms in (100, 200):
        ages = SimpleNamespace(
            state="RUNNING",
            streams=["joints", "camera.front", "camera.wrist"],
            ages_ms=[90.0, 40.0, 50.0],
            header=SimpleNamespace(stamp=at(tick_ms)),
        )
        ways.on_policy_status(ages)
    for tick_ms, known in ((100, True), (150, False)):
        chunk = SimpleNamespace(observation_stamp=at(tick_ms), header=SimpleNamespace(stamp=at(tick_ms + 60)))
        ways.on_chunk(chunk, 100 * 10**9 + (tick_ms + 62) * MS)
        assert (len(ways.chunks) == 1) is known
    rows = {row["what"]: row["p50_ms"] for row in ways.rows()}
    assert rows == {
        "capture": 50.0,
        "inference": 60.0,
        "delivery": 2.0,
        "tick": 8.0,
        "lead": 30.0,
        "camera stamp to command": 150.0,
    }


@pytest.mark.parametrize(("name", "seconds"), [("delay", 5.0), ("loop", 0.0)])
def test_a_time_that_cannot_be_measured_is_refused(name: str, seconds: float) -> None:
    with pytest.raises(ConfigError, match="above 0, for loop, soak only"):
        run_benchmark(name, True, lambda _: None, seconds)


@pytest.fixture
def own_environment() -> Iterator[None]:
    """The benchmark sets domain and transport for its processes, as a command may."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("own_environment")
def test_a_short_phase_over_dds_reports_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
    pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")
    monkeypatch.setattr(loop, "PHASES", (loop.Phase(100, True),))
    report = run_benchmark("loop", True, lambda _: None, 4.0)
    rows = {row["what"]: row for row in report.rows}
    assert rows["lateness"]["ticks"] > 50
    assert 0 < rows["work"]["p50_ms"] < 1000
    assert rows["camera stamp to command"]["p50_ms"] > rows["inference"]["p50_ms"] > 0
    assert rows["lead"]["p50_ms"] == 30.0
    assert {"sim", "commander", "policy", "load"} <= rows.keys()
    assert rows["load"]["cpu_percent"] > 0
    goals = {goal.what.partition(": ")[2] for goal in report.goals}
    assert "missed deadlines without an explanation" in goals, "lateness is one where real-time priority is given"
