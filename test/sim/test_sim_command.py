"""`hpt-ros sim`: a picture without ROS; a run that ends when it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from hpt_ros.bringup.domain import DomainLock
from hpt_ros.cli.sim import sim
from hpt_ros.errors import ConfigError, DataError

pytestmark = pytest.mark.live

app = typer.Typer()
app.command()(sim)


def test_picture_shows_the_robot_and_every_camera(tmp_path: Path) -> None:
    target = tmp_path / "scene.png"
    result = CliRunner().invoke(app, ["--picture", str(target), "--task", "push", "--seed", "7"])
    assert result.exit_code == 0, result.output
    image = cv2.imread(str(target))
    assert image.shape == (720, 1360, 3)
    white = (image[:, :1000].min(axis=2) > 200).mean()
    assert 0.03 < white < 0.5  # the arm's shell
    assert np.abs(image[:360, 1000:].astype(int) - image[360:, 1000:]).mean() > 10  # two different views


def test_picture_in_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--picture", str(tmp_path / "no" / "scene.png")])
    assert isinstance(result.exception, DataError)


def test_unknown_task_is_refused_before_anything_starts() -> None:
    result = CliRunner().invoke(app, ["--task", "juggle"])
    assert isinstance(result.exception, ConfigError)


def begin(domain_id: int, tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    code = "import typer; from hpt_ros.cli.sim import sim; typer.run(sim)"
    command = [sys.executable, "-c", code, "--domain", str(domain_id), "--log-dir", str(tmp_path / "log"), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def domain_id() -> int:
    pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
    with DomainLock.any_free() as lock:
        return lock.domain_id


def test_runs_for_the_time_asked_for(domain_id: int, tmp_path: Path) -> None:
    process = begin(domain_id, tmp_path, "--duration-s", "15")  # within which a busy machine starts the simulator
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "reach, seed 0" in (tmp_path / "log" / "sim_node.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_and_its_child(domain_id: int, tmp_path: Path, number: int) -> None:
    process = begin(domain_id, tmp_path)
    log, deadline = tmp_path / "log" / "sim_node.log", time.monotonic() + 20
    while not (log.exists() and "reach, seed 0" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert children
    process.send_signal(number)
    process.communicate(timeout=6)
    assert process.returncode != 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
    assert "Traceback" not in log.read_text()
