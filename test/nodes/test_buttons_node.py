"""Buttons of a joystick over real topics, with the real recorder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_robot import live_robot, slow_embodiment, wait_until_recordable

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Joy

from hpt_ros.cli.record import committed
from hpt_ros.nodes.session import Session

START, SUCCESS, PARTIAL, FAIL, DISCARD, REDO, UNDO = range(7)
_NAMES = ("start", "success", "partial", "fail", "discard", "redo", "undo")
Start = Callable[..., subprocess.Popen[str]]


class Pad:
    """A joystick whose buttons a test presses; it waits until it is heard."""

    def __init__(self, session: Session, reliability: ReliabilityPolicy) -> None:
        self._session = session
        self._publisher = session.node.create_publisher(Joy, "/joy", QoSProfile(depth=10, reliability=reliability))

    def connect(self) -> None:
        self._session.wait_for("the buttons node", self._publisher.get_subscription_count, 30.0)
        self._session.wait_for("its clients", lambda: self._session.node.get_node_names().count("buttons_node"), 30.0)

    def hold(self, *buttons: int) -> None:
        self._publisher.publish(Joy(buttons=[int(i in buttons) for i in range(8)]))

    def press(self, button: int, wanted: Callable[[Any], bool], let_go: bool = True) -> Any:
        """Press and let go, again as long as the wanted status does not come: a start may be refused for a while."""

        def done() -> Any:
            status = self._session.latest["recorder"]
            return status if wanted(status) else None

        for _ in range(10):
            self.hold()
            self.hold(button)
            if let_go:
                self.hold()
            try:
                status = self._session.wait_for(f"what button {button} does", done, 3.0)
            except TimeoutError:
                self.hold()
                self._next_status()
            else:
                self._next_status()  # by then the answer has come as well
                return status
        raise AssertionError(f"button {button} did nothing: {self._session.latest['recorder']}")

    def _next_status(self) -> None:
        last = self._session.latest["recorder"]
        self._session.wait_for("a status", lambda: self._session.latest["recorder"] is not last, 10.0)


@pytest.fixture
def session(ros_env: dict[str, str], start: Start, tmp_path: Path, monkeypatch) -> Iterator[Session]:
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    robot = slow_embodiment(tmp_path)
    with live_robot(ros_env, robot), Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as client:
        start("hpt_ros.nodes.recorder_node", "-p", f"bags_dir:={tmp_path / 'bags'}", "-p", f"embodiment:={robot}")
        wait_until_recordable(client)
        yield client


def run_buttons(session: Session, start: Start, *parameters: str, reliability=ReliabilityPolicy.RELIABLE) -> Pad:
    pad = Pad(session, reliability)
    indices = [text for i, name in enumerate(_NAMES) for text in ("-p", f"buttons.{name}:={i}")]
    start("hpt_ros.nodes.buttons_node", *indices, *(text for p in parameters for text in ("-p", p)))
    pad.connect()
    return pad


def test_buttons_start_score_discard_redo_and_undo(session, start, tmp_path) -> None:
    pad = run_buttons(session, start, "task:=pick", "instruction:=pick the cube", "operator:=ada")
    folder = tmp_path / "bags" / "pick"

    running = pad.press(START, lambda s: s.state == "RECORDING")
    assert (running.task, running.instruction) == ("pick", "pick the cube")
    half = Path(pad.press(PARTIAL, lambda s: s.episodes_done == 1).path)
    text = (half / "metadata.yaml").read_text()
    assert "0.5" in text
    assert "ada" in text

    pad.press(START, lambda s: s.state == "RECORDING")
    pad.press(DISCARD, lambda s: s.state == "IDLE")
    assert committed(folder) == [half]

    first = pad.press(START, lambda s: s.state == "RECORDING").path
    second = pad.press(REDO, lambda s: s.state == "RECORDING" and s.path != first).path
    assert second != first
    pad.press(SUCCESS, lambda s: s.episodes_done == 2)
    assert committed(folder) == [half, Path(second)]
    pad.press(UNDO, lambda s: s.episodes_done == 1)
    assert committed(folder) == [half]


def test_a_held_button_is_one_press_and_no_score_counts_without_an_episode(session, start, tmp_path) -> None:
    one_pedal = ("buttons.success:=0", "task:=pick")  # starts and saves
    pad = run_buttons(session, start, *one_pedal, reliability=ReliabilityPolicy.BEST_EFFORT)
    for button in (PARTIAL, FAIL, DISCARD):
        pad.hold()
        pad.hold(button)
    pad.press(START, lambda s: s.state == "RECORDING")
    pad.press(START, lambda s: s.episodes_done == 1)
    pad.press(START, lambda s: s.state == "RECORDING")
    pad.press(START, lambda s: s.episodes_done == 2, let_go=False)
    for _ in range(20):
        pad.hold(START)
    stamp = session.latest["recorder"].header.stamp.sec
    session.wait_for("two seconds", lambda: session.latest["recorder"].header.stamp.sec > stamp + 2, 20.0)
    assert session.latest["recorder"].state == "IDLE"
    assert len(committed(tmp_path / "bags" / "pick")) == 2


def test_without_a_task_the_last_one_goes_on_and_without_any_nothing_starts(session, start) -> None:
    pad = run_buttons(session, start)
    with pytest.raises(AssertionError, match="did nothing"):
        _press_once(pad, session)
    session.insist(lambda: session.start_episode("lift", "lift it", "somebody"))
    session.wait_for("RECORDING", lambda: session.latest["recorder"].state == "RECORDING", 20.0)
    pad.press(SUCCESS, lambda s: s.state == "IDLE")
    status = pad.press(START, lambda s: s.state == "RECORDING")
    assert (status.task, status.instruction) == ("lift", "lift it")


def _press_once(pad: Pad, session: Session) -> None:
    stamp = session.latest["recorder"].header.stamp.sec
    pad.hold()
    pad.hold(START)
    session.wait_for("two seconds", lambda: session.latest["recorder"].header.stamp.sec > stamp + 2, 20.0)
    assert session.latest["recorder"].state == "RECORDING", "did nothing"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (("-p", "buttons.partial:=0"), "one meaning in state RECORDING"),
        (("-p", "buttons.start:=-2"), "the index of a button, or -1"),
        (("-p", "joy_topic:=''"), "sensor_msgs/msg/Joy"),
    ],
)
def test_buttons_that_cannot_work_are_refused(start, parameters, message) -> None:
    process = start("hpt_ros.nodes.buttons_node", *parameters)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in output
