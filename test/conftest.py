"""Fixtures for tests that use real rclpy and DDS: a domain of their own, child processes that always end."""

from __future__ import annotations

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # before any test module imports mujoco
if "PYTEST_XDIST_WORKER" in os.environ:  # one process for each core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from hpt_ros.bringup.domain import DomainLock
from hpt_ros.bringup.environment import node_environment
from hpt_ros.bringup.shared_memory import remove_segments

settings.register_profile("hpt_ros", deadline=None)  # how fast a machine is has nothing to do with being right
settings.load_profile("hpt_ros")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever takes a ROS domain is live."""
    for item in items:
        if "ros_env" in getattr(item, "fixturenames", ()):
            item.add_marker("live")


@pytest.fixture
def ros_env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment for child processes in a ROS domain that nobody else uses; skips without rclpy."""
    pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
    before = segments()
    with DomainLock.any_free() as lock:
        yield node_environment(lock.domain_id, tmp_path / "ros_logs")
        remove_segments(segments() - before, lock.domain_id)  # of the processes that a test has killed


def segments() -> set[str]:
    """Names of Fast DDS's files in shared memory."""
    return {path.name for path in Path("/dev/shm").glob("fastdds_*")}


@pytest.fixture
def start(ros_env: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start("hpt_ros.nodes.commander_node", "-p", "name:=value") runs a node's module; all are ended after the test."""
    children: list[subprocess.Popen[str]] = []

    def start_module(module: str, *ros_args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", module, "--ros-args", *ros_args]
        children.append(
            subprocess.Popen(command, env=ros_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return children[-1]

    yield start_module
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
