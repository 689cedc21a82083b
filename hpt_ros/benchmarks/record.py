"""The recorder at full load over real DDS: does anything get lost, what does it cost, does its memory grow?"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hpt_ros.benchmarks.processes import Watched, process, require_alive
from hpt_ros.benchmarks.record_load import embodiment, number_of
from hpt_ros.benchmarks.record_plain import lost
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal
from hpt_ros.bringup.attach import require_ros
from hpt_ros.bringup.domain import DomainLock
from hpt_ros.bringup.environment import node_environment
from hpt_ros.embodiment import embodiment_to
from hpt_ros.errors import DataError, HptRosError
from hpt_ros.recording.mcap_records import Message, walk
from hpt_ros.recording.metadata import EpisodeMetadata

FULL_S, QUICK_S = 600.0, 20.0
CPU_GOAL_PERCENT = 15.0
MEMORY_GOAL_MB = 32.0  # an eighth of what may wait for the disk
_LOAD_BYTES_PER_S = 60e6
_SPARE_BYTES = 5e9
_SETTLE_S = 1.0
_PLAIN_SHARE, _PLAIN_S = 0.25, 60.0  # of the time, but no longer
_PLAIN_START_S = 3.0
_RECORDER, _PLAIN = "recorder", "plain recorder"
_LOADS = ("robot", "cameras")


def run(quick: bool, say: Say) -> BenchReport:
    """Record for 10 minutes (quick: 20 s) what two publishing processes send, and count. Before it a plain recorder does.

    Raises:
        MissingDependencyError: no ROS 2.
        DataError: too little space in the current folder.
    """
    require_ros()
    seconds = QUICK_S if quick else FULL_S
    plain_s = min(_PLAIN_SHARE * seconds, _PLAIN_S)
    need = max(seconds, plain_s + _PLAIN_START_S) * _LOAD_BYTES_PER_S + _SPARE_BYTES
    free = shutil.disk_usage(Path.cwd()).free
    if free < need:
        raise DataError(
            f"{free / 1e9:.1f} GB free in {Path.cwd()}, {need / 1e9:.1f} GB needed", "make room, or --quick"
        )
    with tempfile.TemporaryDirectory(prefix=".bench_record_", dir=Path.cwd()) as folder, DomainLock.any_free() as lock:
        os.environ.update(node_environment(lock.domain_id, Path(folder)))
        return _measure(Path(folder), lock.domain_id, seconds, plain_s, say)


def _measure(folder: Path, domain_id: int, seconds: float, plain_s: float, say: Say) -> BenchReport:
    from hpt_ros.nodes.session import Session

    robot = folder / "bench.yaml"
    robot.write_text(yaml.safe_dump(embodiment_to(embodiment())))
    parameters = ["--ros-args", "-p", f"embodiment:={robot}", "-p", f"bags_dir:={folder / 'bags'}"]
    plain = _plain(folder / "plain", plain_s, say)
    with (
        process("hpt_ros.benchmarks.record_load", "robot") as arm,
        process("hpt_ros.benchmarks.record_load", "cameras") as cameras,
        process("hpt_ros.nodes.recorder_node", *parameters) as recorder,
    ):
        watched = dict(zip((*_LOADS, _RECORDER), map(Watched, (arm, cameras, recorder)), strict=True))
        with Session(lambda: require_alive(watched), domain_id) as session:
            session.wait_for("every stream", lambda: _flows(session), 30.0)
            session.insist(lambda: session.start_episode("bench", "", "bench"))
            say(f"recording for {seconds:g} s")
            _watch(watched, session, seconds, say)
            published = _end_loads(arm, cameras)
            time.sleep(_SETTLE_S)
            bag = Path(session.stop_episode(1.0, "bench"))
        size = sum(path.stat().st_size for path in bag.iterdir())
        say(f"reading {size / 1e9:.2f} GB back")
        streams = [_stream_row(topic, count, *found) for topic, count, found in _compare(bag, published)]
    return _report(seconds, size, [plain, *(w.row(name) for name, w in watched.items())], streams)


def _plain(bag: Path, seconds: float, say: Say) -> dict[str, Any]:
    """What the obvious recorder costs for a load like that, and what it loses."""
    say(f"a plain recorder for {seconds:g} s")
    with (
        process("hpt_ros.benchmarks.record_load", "robot") as arm,
        process("hpt_ros.benchmarks.record_load", "cameras") as cameras,
        process("hpt_ros.benchmarks.record_plain", str(bag)) as child,
    ):
        loads = dict(zip(_LOADS, map(Watched, (arm, cameras)), strict=True))
        watched = Watched(child)
        time.sleep(_PLAIN_START_S)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            require_alive(loads | {_PLAIN: watched})
            watched.sample()
            time.sleep(min(1.0, seconds / 5))
    row = watched.row(_PLAIN) | {"lost": lost(bag)}
    shutil.rmtree(bag)
    return row


def _flows(session: Any) -> bool:
    status = session.latest.get("recorder")
    return bool(status) and not status.warnings and status.rates_hz[0] > 0


def _watch(watched: dict[str, Watched], session: Any, seconds: float, say: Say) -> None:
    end_s = time.monotonic() + seconds
    shown_s = time.monotonic()
    while (now_s := time.monotonic()) < end_s:
        require_alive(watched)
        for item in watched.values():
            item.sample()
        status = session.latest["recorder"]
        if status.state != "RECORDING":
            raise HptRosError(f"the recorder is {status.state}: {status.reason}")
        if now_s - shown_s > 60:
            shown_s = now_s
            say(f"{end_s - now_s:.0f} s to go; drops so far: {sum(status.drops)}")
        time.sleep(1.0)


def _end_loads(*loads: subprocess.Popen[str]) -> dict[str, int]:
    """Stop publishing; the processes stay until the recording has ended."""
    counts: dict[str, int] = {}
    for load in loads:
        load.send_signal(signal.SIGTERM)
        assert load.stdout is not None
        counts |= json.loads(load.stdout.readline())
    return counts


def _compare(bag: Path, published: dict[str, int]) -> Iterator[tuple[str, int, tuple[int, int, dict[str, float]]]]:
    """(topic, published since the first recorded one, (recorded, out of order, statistics))."""
    first: dict[str, int] = {}
    expected: dict[str, int] = {}
    recorded = dict.fromkeys(published, 0)
    disorder = dict.fromkeys(published, 0)
    about = {}
    for item in walk(next(bag.glob("*.mcap"))):
        if not isinstance(item, Message) or item.channel.topic not in published:
            continue
        topic, number = item.channel.topic, number_of(item.raw)
        first.setdefault(topic, number)
        disorder[topic] += number < expected.get(topic, number)
        expected[topic] = number + 1
        recorded[topic] += 1
    about = _statistics(bag)
    for topic, count in published.items():
        yield topic, count - first.get(topic, 0), (recorded[topic], disorder[topic], about.get(topic, {}))


def _statistics(bag: Path) -> dict[str, dict[str, float]]:
    from rosbags.rosbag2 import Reader

    with Reader(bag) as reader:
        metadata = EpisodeMetadata.from_custom_data(reader.storage.metadata.custom or {})
    return {topic: dict(values) for topic, values in metadata.topics.items()}


def _stream_row(topic: str, published: int, recorded: int, disorder: int, facts: dict[str, float]) -> dict[str, Any]:
    return {
        "what": topic,
        "published": published,
        "recorded": recorded,
        "lost": published - recorded,
        "out_of_order": disorder,
        "rate_hz": round(facts.get("rate_hz", 0.0), 1),
        "gap_p99_ms": facts.get("gap_p99_ms", 0.0),
        "gap_max_ms": facts.get("gap_max_ms", 0.0),
    }


def _report(seconds: float, size: int, processes: list[dict[str, Any]], streams: list[dict[str, Any]]) -> BenchReport:
    recorder = next(row for row in processes if row["what"] == _RECORDER)
    plain = next(row for row in processes if row["what"] == _PLAIN)
    missing = sum(abs(row["lost"]) + row["out_of_order"] for row in streams)
    return BenchReport(
        name="record",
        settings={
            "seconds": seconds,
            "bag_bytes": size,
            "mb_per_s": round(size / seconds / 1e6, 1),
            "processor time, plain / ours": round(plain["cpu_percent"] / max(recorder["cpu_percent"], 0.1), 2),
        },
        rows=[*processes, *streams],
        goals=[
            Goal("messages lost or out of order", missing, 0),
            Goal("recorder, % of one core", recorder["cpu_percent"], CPU_GOAL_PERCENT),
            Goal("growth of the recorder's memory after warm-up, MB", recorder["growth_mb"], MEMORY_GOAL_MB),
        ],
        notes=[
            "plain recorder: raw subscriptions, rclpy's executor and the writer of rosbags; lost: numbers missing in its bag",
            "memory holds what waits for the disk: 56 MB for each second that it pauses",
            "published counts begin with the first recorded message; the last published one must be in the bag",
            "processor time is that of the process (user and system); writing pages out is the kernel's and not in it",
        ],
    )
