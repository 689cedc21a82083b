"""Every device over real topics on the simulated Panda: which way the tool moves, and what stops it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from hpt_ros.msg import ActionChunk, TeleopStatus
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Float32

from hpt_ros.configuration import to_mapping
from hpt_ros.control.kinematics import forward
from hpt_ros.embodiment import embodiment_to, load_embodiment
from hpt_ros.errors import WaitError
from hpt_ros.nodes.runtime import RELIABLE_10
from hpt_ros.nodes.session import Session
from hpt_ros.teleop.config import load_device

SIM = load_embodiment("sim_panda")
# A busy machine pauses for long.
ROBOT = replace(
    SIM,
    safety=replace(SIM.safety, policy_timeout_s=1.5),
    joints=replace(SIM.joints, timing=replace(SIM.joints.timing, max_age_s=1.5)),
)
TIMEOUT_S = 0.8
PERIOD_S = 0.02
WAIT_S = 20.0


class Desk:
    """A person at the simulated robot: the device's messages at 50 Hz, made by the functions in `sends`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sends: dict[str, Callable[[], Any]] = {}
        self._publishers: dict[str, Any] = {}
        self.status: Any = None
        self.states: list[str] = []
        self.refusals: list[str] = []
        self.joints: Any = None
        self.fingers: Any = None
        self.chunks = 0
        node = session.node
        node.create_subscription(TeleopStatus, "/hpt_ros/teleop/status", self._on_status, RELIABLE_10)
        node.create_subscription(JointState, ROBOT.joints.topic, lambda m: setattr(self, "joints", m), 1)
        node.create_subscription(JointState, ROBOT.gripper.topic, lambda m: setattr(self, "fingers", m), 1)
        node.create_subscription(ActionChunk, "/hpt_ros/action_chunk", self._on_chunk, RELIABLE_10)
        node.create_timer(PERIOD_S, self._send)

    def _on_status(self, message: Any) -> None:
        self.status = message
        if not self.states or self.states[-1] != message.state:
            self.states.append(message.state)
        if message.state == "REFUSED":
            self.refusals.append(message.reason)

    def _on_chunk(self, message: Any) -> None:
        self.chunks += 1

    def _send(self) -> None:
        for topic, make in list(self.sends.items()):
            message = make()
            if message is None:
                continue
            if topic not in self._publishers:
                self._publishers[topic] = self.session.node.create_publisher(type(message), topic, RELIABLE_10)
            self._publishers[topic].publish(message)

    @property
    def q(self) -> np.ndarray:
        return np.array([self.joints.position[list(self.joints.name).index(n)] for n in ROBOT.joints.names])

    @property
    def speed_rad_s(self) -> float:
        return float(np.abs(self.joints.velocity).max())

    @property
    def tcp(self) -> np.ndarray:
        return forward(self.q)

    @property
    def width_m(self) -> float:
        return float(sum(self.fingers.position))

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        try:
            return self.session.wait_for(what, condition, WAIT_S)
        except WaitError as error:
            raise AssertionError(f"{error}; {self.status}; {self.session.latest.get('commander')}") from error

    def until_state(self, state: str) -> None:
        self.until(f"state {state}", lambda: self.status is not None and self.status.state == state)

    def until_still(self) -> None:
        self.until("a still arm", lambda: self.speed_rad_s < 2e-3)

    def engage(self) -> None:
        self.until_state("FREE")
        self.session.wait_for_status("commander")
        self.session.engage()
        self.until("RUNNING", lambda: self.session.latest["commander"].state == "RUNNING")
        self.until("being followed", lambda: self.status.reason == "")

    def moved(self, before: np.ndarray, axis: np.ndarray, metres: float = 0.05) -> None:
        """Wait for a movement along `axis`, and see that it goes that way; how exactly is for the tests without a clock."""
        self.until(f"{metres} m along {axis}", lambda: (self.tcp[:3, 3] - before[:3, 3]) @ axis > metres)
        step = self.tcp[:3, 3] - before[:3, 3]
        assert np.linalg.norm(step - (step @ axis) * axis) < 0.5 * (step @ axis)


@pytest.fixture
def desk(ros_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as session:
        yield Desk(session)


@pytest.fixture
def bring_up(start: Callable[..., subprocess.Popen[str]], desk: Desk, tmp_path: Path) -> Callable[..., None]:
    robot = tmp_path / "robot.yaml"
    robot.write_text(yaml.safe_dump(embodiment_to(ROBOT)))

    def begin(device: str, task: str = "reach") -> None:
        start("hpt_ros.sim.sim_node", "-p", f"task:={task}", "-p", f"embodiment:={robot}")
        start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={robot}")
        patient = tmp_path / "device.yaml"
        patient.write_text(yaml.safe_dump(to_mapping(replace(load_device(device), timeout_s=TIMEOUT_S))))
        start("hpt_ros.nodes.teleop_node", "-p", f"embodiment:={robot}", "-p", f"device:={patient}")
        desk.until("the simulator", lambda: desk.joints is not None and desk.fingers is not None)

    return begin


def twist(*values: float) -> Twist:
    message = Twist()
    full = [*values, *[0.0] * (6 - len(values))]
    for part, numbers in ((message.linear, full[:3]), (message.angular, full[3:])):
        part.x, part.y, part.z = map(float, numbers)
    return message


def joy(axes: int, buttons: tuple[int, ...] = (), count: int = 15, **values: float) -> Joy:
    message = Joy(axes=[0.0] * axes, buttons=[int(i in buttons) for i in range(count)])
    for name, value in values.items():
        message.axes[int(name[1:])] = value
    return message


def pose(position: tuple[float, float, float]) -> PoseStamped:
    message = PoseStamped()
    point, message.pose.orientation.w = message.pose.position, 1.0
    point.x, point.y, point.z = position
    return message


def test_spacemouse_moves_in_the_base_frame_and_stops_on_silence(desk: Desk, bring_up) -> None:
    bring_up("spacemouse")
    stick, buttons = [twist()], [joy(6, count=2)]
    desk.sends = {"/spacenav/twist": lambda: stick[0], "/spacenav/joy": lambda: buttons[0]}
    desk.engage()
    for axis in range(3):
        before, direction = desk.tcp, np.eye(3)[axis]
        stick[0] = twist(*direction)
        desk.moved(before, direction)
        stick[0] = twist()
        desk.until_state("FREE")
        desk.until_still()

    stick[0] = twist(0, 1, 0)
    desk.until_state("ACTIVE")
    desk.sends = {}
    desk.until_state("SILENT")
    assert "silent for" in desk.status.reason
    desk.until_still()
    assert desk.session.latest["commander"].state == "RUNNING", "the arm is held, not dropped"
    stopped = desk.tcp
    desk.sends = {"/spacenav/twist": lambda: stick[0]}
    desk.until("messages again", lambda: desk.status.state == "SILENT" and desk.status.reason.startswith("let go"))
    np.testing.assert_allclose(desk.tcp[:3, 3], stopped[:3, 3], atol=1e-3)
    stick[0] = twist()
    desk.until_state("FREE")
    assert desk.session.latest["commander"].chunks_rejected == 0


def test_spacemouse_buttons_close_the_gripper_and_go_home(desk: Desk, bring_up) -> None:
    bring_up("spacemouse")
    stick, held = [twist()], [()]
    desk.sends = {"/spacenav/twist": lambda: stick[0], "/spacenav/joy": lambda: joy(6, held[0], count=2)}
    desk.engage()
    home = desk.tcp[:3, 3]
    held[0] = (0,)
    desk.until("the gripper's closing", lambda: desk.width_m < 0.01)
    assert desk.status.gripper_closed
    held[0] = ()
    time.sleep(10 * PERIOD_S)
    held[0] = (0,)
    desk.until("the gripper's opening", lambda: desk.width_m > 0.07)
    held[0] = ()
    stick[0] = twist(1)
    desk.moved(desk.tcp, np.eye(3)[0], 0.04)
    stick[0] = twist()
    desk.until_state("FREE")
    held[0] = (1,)
    desk.until("the way home", lambda: desk.status.state == "ACTIVE" and desk.status.reason == "returning home")
    goal = forward(ROBOT.home_rad)[:3, 3]
    desk.until("home", lambda: np.linalg.norm(desk.tcp[:3, 3] - goal) < 0.005)
    desk.until_state("FREE")
    assert np.linalg.norm(home - goal) < 0.2


def test_joystick_needs_its_deadman_and_its_axes(desk: Desk, bring_up) -> None:
    bring_up("joy")
    message = [joy(6)]
    desk.sends = {"/joy": lambda: message[0]}
    desk.engage()
    before = desk.tcp
    message[0] = joy(6, a1=1.0)
    time.sleep(0.3)
    assert desk.status.state == "FREE"
    np.testing.assert_allclose(desk.tcp, before, atol=1e-3)
    message[0] = joy(6, (9,), a1=1.0)
    desk.moved(before, np.eye(3)[0])
    message[0] = joy(6, a1=1.0)
    desk.until_state("FREE")
    desk.until_still()
    message[0] = joy(8, (9,), a1=1.0)
    desk.until_state("REFUSED")
    assert "8 axes, expected 6" in desk.status.reason
    message[0] = joy(6)
    desk.until_state("FREE")


def test_joystick_in_the_tool_frame(desk: Desk, bring_up) -> None:
    bring_up("joy")
    message = [joy(6)]
    desk.sends = {"/joy": lambda: message[0]}
    desk.engage()
    message[0] = joy(6, (3,))
    desk.until("the tool frame", lambda: desk.status.frame == "tool")
    message[0] = joy(6)
    before = desk.tcp
    message[0] = joy(6, (9,), a3=1.0)
    desk.moved(before, before[:3, 2])
    assert before[2, 2] < -0.9, "the tool points down: its z is not the base's"


def test_nan_is_refused_and_stops(desk: Desk, bring_up) -> None:
    bring_up("keyboard")
    message = [TwistStamped()]
    desk.sends = {"/hpt_ros/teleop/keyboard/twist": lambda: message[0]}
    desk.engage()
    message[0] = TwistStamped(twist=twist(0, 0, 1))
    desk.until_state("ACTIVE")
    message[0] = TwistStamped(twist=twist(0, 0, float("nan")))
    desk.until_state("REFUSED")
    assert "not finite" in desk.status.reason
    desk.until_still()


def test_leader_too_far_is_refused_then_followed(desk: Desk, bring_up) -> None:
    bring_up("leader")
    source = load_device("leader").leader
    leader, share = [np.array(ROBOT.home_rad) + 1.0], [1.0]
    desk.sends = {
        source.topic: lambda: JointState(name=list(source.names), position=leader[0].tolist()),
        source.gripper_topic: lambda: Float32(data=share[0]),
    }
    desk.until_state("REFUSED")
    assert "the leader is at" in desk.status.reason
    leader[0] = desk.q
    desk.until_state("FREE")
    desk.session.wait_for_status("commander")
    desk.session.engage()
    desk.until_state("ACTIVE")
    wish = desk.q + np.array([0.2, 0.1, 0, 0, 0, 0, 0])
    leader[0] = wish
    desk.until("the leader's posture", lambda: np.abs(desk.q - wish).max() < 0.01)
    share[0] = 0.0
    desk.until("the gripper's closing", lambda: desk.width_m < 0.01)
    desk.sends = {
        source.topic: lambda: JointState(name=[f"x{i}" for i in range(7)], position=leader[0].tolist()),
    }
    desk.until_state("REFUSED")
    assert "no joint" in desk.status.reason


def test_pose_moves_relative_to_where_the_clutch_closed(desk: Desk, bring_up) -> None:
    bring_up("pose")
    device = load_device("pose")
    hand, held = [(5.0, -3.0, 1.0)], [()]
    desk.sends = {device.pose.topic: lambda: pose(hand[0]), device.buttons.topic: lambda: joy(2, held[0], count=4)}
    desk.engage()
    before = desk.tcp
    hand[0] = (5.05, -3.0, 1.0)  # clutch open
    time.sleep(0.3)
    np.testing.assert_allclose(desk.tcp, before, atol=1e-3)
    held[0] = (0,)
    desk.until_state("ACTIVE")
    hand[0] = (5.05, -2.95, 1.03)
    desk.until("the hand's movement", lambda: np.abs(desk.tcp[:3, 3] - before[:3, 3] - [0, 0.05, 0.03]).max() < 0.004)
    np.testing.assert_allclose(desk.tcp[:3, :3], before[:3, :3], atol=0.02)
    held[0] = ()
    desk.until_state("FREE")
    hand[0] = (5.0, -3.0, 1.0)
    desk.until_still()
    np.testing.assert_allclose(desk.tcp[:3, 3] - before[:3, 3], [0, 0.05, 0.03], atol=0.005)
    held[0] = (0,)
    desk.until_state("ACTIVE")
    hand[0] = (5.5, -3.0, 1.0)
    desk.until("a refusal", lambda: any("the tracker jumped" in reason for reason in desk.refusals))


def test_hand_guiding_sends_nothing_and_wants_an_idle_commander(desk: Desk, bring_up) -> None:
    bring_up("hand")
    desk.until_state("ACTIVE")
    desk.session.wait_for_status("commander")
    desk.session.engage()
    desk.until("a refusal", lambda: "the commander is ENGAGING: disengage it" in desk.status.reason)
    assert desk.status.state == "REFUSED"
    desk.session.release()
    desk.until_state("ACTIVE")
    assert desk.chunks == 0
