"""The whole walk as a user runs it: real processes, DDS, bags, training. About two minutes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")

from patient_robot import patient_panda

from hpt_ros.cli.record import committed
from hpt_ros.embodiment import embodiment_to

pytestmark = pytest.mark.live

HPT_ROS = [sys.executable, "-m", "hpt_ros.cli.main"]


def run(*arguments: object, timeout_s: float = 900.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HPT_ROS, *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s, check=False
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that mention the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in line and int(entry.parent.name) != os.getpid():
            found.append(line)
    return found


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("*fastdds*")}


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("walk") / "out"
    return out, run("demo", "--quick", "--out", out, "--json", "-")


def test_the_quick_walk_reports_on_standard_output(walk):
    out, finished = walk
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert report == json.loads((out / "report.json").read_text())
    assert report["trained"]["trials"] == 2
    assert report["untrained"]["trials"] == 1
    assert report["trained"]["command_rate_hz"]["median"] > 50
    assert all(Path(path).exists() for path in report["paths"].values())


def test_every_stage_leaves_files_that_open(walk):
    from rosbags.highlevel import AnyReader

    from hpt_ros.demos import Demos
    from hpt_ros.model import load_checkpoint

    out, _ = walk
    bags = committed(out / "bags" / "reach")
    assert len(bags) == 3
    with AnyReader([bags[0]]) as reader:
        assert {"/franka/joint_states", "/hpt_ros/command"} <= set(reader.topics)
    demos = Demos.open(out / "demos" / "reach")
    assert [episode.source for episode in demos.episodes] == [f"reach/{bag.name}" for bag in bags]
    assert load_checkpoint(out / "runs" / "reach" / "last").embodiment == demos.embodiment


def test_a_second_run_does_nothing(walk):
    out, _ = walk
    before = {
        path: path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.is_file() and path.suffix in (".mcap", ".safetensors")
    }
    finished = run("demo", "--quick", "--out", out)
    assert finished.returncode == 0
    assert finished.stderr.count("done before") == 5
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_nothing_of_the_walk_lives_on(walk):
    out, _ = walk
    assert processes_of(out) == []


def test_an_embodiment_that_is_not_the_checkpoints_is_refused_with_the_difference(walk, tmp_path):
    out, _ = walk
    checkpoint = out / "runs" / "reach" / "last"
    finished = run(
        "evaluate",
        checkpoint,
        "--sim",
        "--embodiment",
        "panda",
        "--out",
        tmp_path / "eval",
        "--log-dir",
        tmp_path / "log",
    )
    assert finished.returncode == 3
    assert "size_px[0]: expected 64, found 224" in finished.stderr


@pytest.mark.parametrize("after", ["sim_node.log", "recorder_node.log"])
def test_ctrl_c_ends_everything_within_five_seconds(tmp_path, after):
    before = shared_memory()
    out = tmp_path / "out"
    child = subprocess.Popen(
        [*HPT_ROS, "demo", "--quick", "--out", str(out)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (out / "log" / after).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.1 if after == "sim_node.log" else 4.0)
    os.killpg(child.pid, signal.SIGINT)  # what a terminal does
    began = time.monotonic()
    _, errors = child.communicate(timeout=30)
    assert time.monotonic() - began < 5.0
    assert child.returncode == 130, errors
    assert processes_of(out) == []
    assert shared_memory() <= before
    assert not list(out.rglob("*.partial"))


def test_two_recordings_side_by_side_do_not_disturb_each_other(tmp_path):
    robot = tmp_path / "patient.yaml"
    robot.write_text(yaml.safe_dump(embodiment_to(patient_panda())))  # two robots share these cores
    folders = [tmp_path / "a", tmp_path / "b"]
    options = ["--sim", "--episodes", "1", "--embodiment", str(robot)]
    children = [
        subprocess.Popen(
            [*HPT_ROS, "record", *options, "--bags", str(f), "--log-dir", str(f / "log")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for f in folders
    ]
    for child, folder in zip(children, folders, strict=True):
        _, errors = child.communicate(timeout=240)
        assert child.returncode == 0, errors
        assert len(committed(folder / "reach")) == 1
