"""A person at a terminal: `hpt-ros teleop --device keyboard` behind a real pseudo-terminal, on the simulated Panda."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from hpt_ros.msg import TeleopStatus
from sensor_msgs.msg import JointState

from hpt_ros.control.kinematics import forward
from hpt_ros.embodiment import embodiment_to, load_embodiment
from hpt_ros.nodes.runtime import RELIABLE_10
from hpt_ros.nodes.session import Session

SIM = load_embodiment("sim_panda")
ROBOT = replace(
    SIM,
    safety=replace(SIM.safety, policy_timeout_s=1.5),
    joints=replace(SIM.joints, timing=replace(SIM.joints.timing, max_age_s=1.5)),
)
REPEAT_S = 0.04
LIMIT_S = 90.0


class Terminal:
    """The command behind a pseudo-terminal; what it prints is read away and kept."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        command = [sys.executable, "-m", "hpt_ros.cli.main", "teleop", "--device", "keyboard"]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment | {"COLUMNS": "200"}
        )
        os.close(slave)
        self.screen = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while data := os.read(self.master, 4096):
                self.screen += data
        except OSError:
            return

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Operator:
    """Eyes on the simulated scene, fingers on the keys."""

    def __init__(self, session: Session, terminal: Terminal) -> None:
        self.session, self.terminal = session, terminal
        self.joints: Any = None
        self.fingers: Any = None
        self.status: Any = None
        self.end_s = time.monotonic() + LIMIT_S
        node = session.node
        node.create_subscription(JointState, ROBOT.joints.topic, lambda m: setattr(self, "joints", m), 1)
        node.create_subscription(JointState, ROBOT.gripper.topic, lambda m: setattr(self, "fingers", m), 1)
        node.create_subscription(
            TeleopStatus, "/hpt_ros/teleop/status", lambda m: setattr(self, "status", m), RELIABLE_10
        )

    @property
    def tip(self) -> np.ndarray:
        return forward([self.joints.position[list(self.joints.name).index(n)] for n in ROBOT.joints.names])[:3, 3]

    @property
    def cube(self) -> np.ndarray:
        place = self.session.latest["sim"].object.position
        return np.array([place.x, place.y, place.z])

    @property
    def width_m(self) -> float:
        return float(sum(self.fingers.position))

    def until(self, what: str, condition: Callable[[], Any]) -> None:
        self.session.wait_for(what, condition, max(1.0, self.end_s - time.monotonic()))

    def engage(self) -> None:
        """Press e as a person would who sees on the screen that it was refused: nodes find each other in their own time."""
        self.session.wait_for_status("commander")
        while self.session.latest["commander"].state != "RUNNING":
            assert time.monotonic() < self.end_s, self.terminal.screen[-500:]
            if self.session.latest["commander"].state == "IDLE":
                self.terminal.press("e")
            time.sleep(0.5)

    def tap(self, key: str) -> None:
        """Press a motion key, but let go first where the screen asks for it."""
        self.until("a free arm", lambda: self.status.state in ("FREE", "ACTIVE") and not self.status.reason)
        self.terminal.press(key)

    def go(self, goal: Callable[[], np.ndarray], axes: str, within_m: float) -> None:
        """Hold keys until the tip is at the goal; near it wait for the arm and tap."""
        while (error := self._error(goal, axes)) is not None and np.abs(error).max() > within_m:
            assert time.monotonic() < self.end_s, f"{error} m to go; {self.status}; {self.session.latest['commander']}"
            axis = int(np.abs(error).argmax())
            self.tap(("wsadrf"[2 * axis : 2 * axis + 2])[int(error[axis] < 0)])
            near = np.abs(error).max() < 0.04
            time.sleep(0.5 if near else REPEAT_S)

    def _error(self, goal: Callable[[], np.ndarray], axes: str) -> np.ndarray:
        wanted = np.array([axis in axes for axis in "xyz"])
        return np.where(wanted, goal() - self.tip, 0.0)


@pytest.fixture
def operator(
    ros_env: dict[str, str],
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Operator]:
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    robot = tmp_path / "robot.yaml"
    robot.write_text(yaml.safe_dump(embodiment_to(ROBOT)))
    start("hpt_ros.sim.sim_node", "-p", "task:=lift", "-p", "seed:=1", "-p", f"embodiment:={robot}")
    start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={robot}")
    start("hpt_ros.nodes.teleop_node", "-p", "device:=keyboard", "-p", f"embodiment:={robot}")
    terminal = Terminal(ros_env)
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as session:
        person = Operator(session, terminal)
        person.until("the scene", lambda: session.latest.get("sim") and person.joints and person.fingers)
        person.until("the keyboard", lambda: person.status and person.status.state == "FREE")
        yield person
    terminal.end()


def test_key_presses_lift_the_cube(operator: Operator) -> None:
    press = operator.terminal.press
    operator.engage()
    operator.go(lambda: operator.cube + [0, 0, 0.10], "xy", 0.012)
    operator.go(lambda: np.array([0, 0, 0.022]), "z", 0.008)
    press(" ")
    operator.until("the grip", lambda: 0.03 < operator.width_m < 0.06 and operator.status.gripper_closed)
    while not operator.session.latest["sim"].success:
        assert time.monotonic() < operator.end_s, f"{operator.cube}"
        operator.tap("r")
        time.sleep(REPEAT_S)
    press("q")
    assert operator.terminal.process.wait(timeout=15) == 0
    assert b"ACTIVE" in operator.terminal.screen


def test_a_terminal_that_dies_stops_the_arm(operator: Operator) -> None:
    operator.engage()
    while operator.status.state != "ACTIVE":
        assert time.monotonic() < operator.end_s, operator.status
        operator.tap("a")
        time.sleep(REPEAT_S)
    operator.terminal.process.kill()
    operator.until("silence", lambda: operator.status.state == "SILENT")
    operator.until("a still arm", lambda: np.abs(operator.joints.velocity).max() < 2e-3)


def test_without_a_terminal_it_is_refused() -> None:
    command = [sys.executable, "-m", "hpt_ros.cli.main", "teleop"]
    finished = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2
    assert "run it in a terminal" in finished.stderr.replace("\n", " ")
    assert "Traceback" not in finished.stderr
