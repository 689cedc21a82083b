"""The commander's process: one per domain, a deadman button, recovery, what its status tells. Over real topics."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from test_commander_node import HOME, ROBOT, WAIT_S, Robot, patient, robot, running, wait_until  # noqa: F401

from hpt_ros.embodiment import embodiment_to

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

Start = Callable[..., "subprocess.Popen[str]"]
BUTTON = 2


class Joy:
    """A joystick's driver that repeats itself until it is silenced."""

    def __init__(self, robot: Robot) -> None:  # noqa: F811
        from sensor_msgs.msg import Joy as Message

        from hpt_ros.nodes.runtime import RELIABLE_10

        self.pressed, self.silent = False, False
        self._message, self._publisher = Message, robot.node.create_publisher(Message, "/joy", RELIABLE_10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            if not self.silent:
                buttons = [1, 1, int(self.pressed), 1]
                self._publisher.publish(self._message(buttons=buttons))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def joy(robot: Robot) -> Iterator[Joy]:  # noqa: F811
    joy = Joy(robot)
    yield joy
    joy.close()


@pytest.fixture
def with_button(tmp_path: Path) -> Path:
    data = embodiment_to(ROBOT) | {"deadman": {"topic": "/joy", "button": BUTTON, "max_age_s": 1.0}}
    path = tmp_path / "with_button.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_the_deadman_button_is_held_or_the_arm_is(robot: Robot, start: Start, joy: Joy, with_button: Path) -> None:  # noqa: F811
    start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={with_button}")
    wait_until(lambda: robot.status is not None, "status")
    wait_until(lambda: "deadman: released" in robot.wish("engage").message, "refusal")
    joy.pressed = True
    wait_until(lambda: robot.wish("engage").success, "engagement")
    robot.target = HOME + 0.4
    wait_until(lambda: robot.status.state == "RUNNING" and robot.speed() > 0.05, "motion")
    joy.pressed = False
    wait_until(lambda: robot.status.state == "HOLDING" and robot.status.reason == "deadman: released", "hold")
    wait_until(lambda: robot.speed() == 0, "rest")
    joy.pressed = True
    wait_until(lambda: robot.wish("resume").success, "resumption")
    wait_until(lambda: robot.status.state == "RUNNING", "running")
    joy.silent = True
    silent = "deadman: silent for more than 1000 ms"
    wait_until(lambda: robot.status.state == "HOLDING" and robot.status.reason == silent, "hold")


def test_a_second_commander_does_not_start_and_the_status_tells_all(
    robot: Robot,  # noqa: F811
    start: Start,
    patient: Path,  # noqa: F811
) -> None:
    running(robot, start, patient)
    second = start("hpt_ros.nodes.commander_node")
    assert second.wait(timeout=WAIT_S) == 7
    assert "another commander of this machine" in second.stdout.read()
    assert robot.status.state == "RUNNING"

    robot.target = HOME + 0.05
    robot.target[6] = 4.0
    wait_until(lambda: "joint position" in robot.status.limits, "a limit that is met")
    counts = dict(zip(robot.status.limits, robot.status.limit_ticks, strict=True))
    assert counts["joint position"] > 0
    assert list(robot.status.stages) == ["capture", "observation", "inference", "arrival", "due"]
    due_ms = dict(zip(robot.status.stages, robot.status.stage_p50_ms, strict=True))["due"]
    assert 0 < due_ms < 1000
    assert robot.status.seams > 0
    assert 0 <= robot.status.joints_age_ms < 1000
    assert robot.status.robot_state_age_ms == -1
    assert not robot.status.intervention
    refused = robot.wish("recover_errors")
    assert not refused.success
    assert "has no `recovery`" in refused.message


def test_realtime_that_is_asked_for_is_given_or_refused(start: Start, ros_env: dict[str, str]) -> None:
    process = start("hpt_ros.nodes.commander_node", "-p", "realtime_priority:=500")
    assert process.wait(timeout=WAIT_S) == 2
    assert "realtime_priority: found 500" in process.stdout.read()
