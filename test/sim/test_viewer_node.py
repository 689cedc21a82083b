"""The window on the scene: refused without a display, and shows what runs where there is one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")


def test_without_a_display_it_says_what_is_missing(ros_env: dict[str, str]) -> None:
    blind = {key: value for key, value in ros_env.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "hpt_ros.sim.viewer_node"]
    ended = subprocess.run(command, env=blind, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 4
    assert "there is no display for a window" in ended.stderr


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs a display to draw on: apt install xvfb")
def test_on_a_display_it_stays_up_and_ends_on_request(
    ros_env: dict[str, str], start: Callable[..., subprocess.Popen[str]]
) -> None:
    start("hpt_ros.sim.sim_node")
    command = ["xvfb-run", "-a", sys.executable, "-m", "hpt_ros.sim.viewer_node"]
    with subprocess.Popen(command, env=ros_env, stderr=subprocess.PIPE, text=True, start_new_session=True) as viewer:
        time.sleep(8)
        running = viewer.poll() is None
        viewer.terminate()
        assert running, viewer.stderr.read() if viewer.stderr else ""
