"""Fixtures for tests that use real rclpy and DDS: a domain of their own, child processes that always end."""

from __future__ import annotations

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # before any test module imports mujoco
if "PYTEST_XDIST_WORKER" in os.environ:  # one process for each core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
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
        if "ros_env" in getattr(item, "fixturenames", ()) or item.get_closest_marker("alone"):
            item.add_marker("live")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Of several workers one has all files with live tests, so that they do not disturb each other; the rest share files.

    (The groups of `--dist loadgroup` are not kept by pytest-xdist 3.8 with pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            name, _, _ = nodeid.partition("::")
            return "live" if _is_live(config.rootpath / name) else name

    return ByFile(config, log)


@functools.cache
def _is_live(path: Path) -> bool:
    text = path.read_text()
    return "ros_env" in text or "pytest.mark.live" in text


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
