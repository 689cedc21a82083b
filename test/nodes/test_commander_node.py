"""The commander's process over real topics: an arm that obeys the controller's rule, chunks, services, signals."""

from __future__ import annotations

import signal
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

from hpt_ros.control.trajectory import JointTrajectoryFollower
from hpt_ros.embodiment import embodiment_to, fingerprint, load_embodiment

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

SIM = load_embodiment("sim_panda")
# A busy machine pauses for long; the arm is so slow that it still moves when the patience with it ends.
ROBOT = replace(
    SIM,
    safety=replace(SIM.safety, policy_timeout_s=1.5, velocity_fraction=0.08),
    policy=replace(SIM.policy, action_horizon=32),  # a chunk outlasts that
    joints=replace(SIM.joints, timing=replace(SIM.joints.timing, max_age_s=1.5)),
)
HOME = np.array(SIM.home_rad)
WAIT_S = 15.0


class Robot:
    """A stand-in for the arm's side, and a policy: its own node, spun in a thread."""

    def __init__(self) -> None:
        from hpt_ros.msg import ActionChunk, Command, CommanderStatus
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray
        from std_srvs.srv import Trigger
        from trajectory_msgs.msg import JointTrajectory

        from hpt_ros.nodes.runtime import RELIABLE_1, RELIABLE_10

        self.node = rclpy.create_node("robot")
        self.arm = JointTrajectoryFollower(SIM.joints.names, HOME)
        self.arm_lock = threading.Lock()
        self.status: Any = None
        self.states: list[str] = []
        self.labels: list[Any] = []
        self.widths: list[float] = []
        self.rejected: list[str] = []
        self.target: np.ndarray | None = None
        self.gripper_m = 0.08
        self.silent = False
        self._joints = self.node.create_publisher(JointState, SIM.joints.topic, RELIABLE_10)
        self._fingers = self.node.create_publisher(JointState, SIM.gripper.topic, RELIABLE_1)
        self._chunks = self.node.create_publisher(ActionChunk, "/hpt_ros/action_chunk", RELIABLE_10)
        self.node.create_subscription(JointTrajectory, SIM.command.topic, self._on_trajectory, RELIABLE_1)
        self.node.create_subscription(Command, SIM.command.record_topic, self.labels.append, RELIABLE_10)
        self.node.create_subscription(CommanderStatus, "/hpt_ros/commander/status", self._on_status, RELIABLE_10)
        self.node.create_subscription(
            Float64MultiArray, SIM.command.gripper_topic, lambda m: self.widths.append(m.data[0]), RELIABLE_10
        )
        self._clients = {  # a service drops the answer to a client that it does not know yet
            name: self.node.create_client(Trigger, f"/hpt_ros/commander/{name}")
            for name in ("engage", "disengage", "resume", "reset", "recover_errors")
        }
        self.node.create_timer(0.005, self._publish_joints)
        self.node.create_timer(1 / SIM.policy.rate_hz, self._publish_chunk)

    def now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def _on_status(self, message: Any) -> None:
        self.status = message
        if not self.states or self.states[-1] != message.state:
            self.states.append(message.state)

    def _on_trajectory(self, message: Any) -> None:
        points = [
            (p.time_from_start.sec + p.time_from_start.nanosec * 1e-9, p.positions, p.velocities, None)
            for p in message.points
        ]
        stamp = message.header.stamp
        try:
            with self.arm_lock:
                self.arm.accept(message.joint_names, points, stamp.sec * 10**9 + stamp.nanosec, self.now_ns())
        except Exception as error:
            self.rejected.append(str(error))

    def _publish_joints(self) -> None:
        from sensor_msgs.msg import JointState

        if self.silent:
            return
        now = self.node.get_clock().now()
        with self.arm_lock:
            q, dq = self.arm.sample(now.nanoseconds)
        order = [3, 0, 6, 1, 5, 2, 4]  # controllers promise none
        message = JointState(name=[SIM.joints.names[i] for i in order])
        message.header.stamp = now.to_msg()
        message.position, message.velocity = q[order].tolist(), dq[order].tolist()
        self._joints.publish(message)
        fingers = JointState(name=list(SIM.gripper.names), position=[0.04, 0.04])
        fingers.header.stamp = now.to_msg()
        self._fingers.publish(fingers)

    def _publish_chunk(self) -> None:
        from hpt_ros.msg import ActionChunk

        if self.target is None:
            return
        message = ActionChunk(
            observation_stamp=self.node.get_clock().now().to_msg(),
            source="policy",
            fingerprint=fingerprint(ROBOT),
            period_s=1 / SIM.policy.rate_hz,
            names=list(SIM.action_names),
            rows=[*self.target.tolist(), self.gripper_m] * ROBOT.policy.action_horizon,
        )
        self._chunks.publish(message)

    def speed(self) -> float:
        with self.arm_lock:
            return float(np.abs(self.arm.sample(self.now_ns())[1]).max())

    def position(self) -> np.ndarray:
        with self.arm_lock:
            return self.arm.sample(self.now_ns())[0]

    def wish(self, name: str) -> Any:
        from std_srvs.srv import Trigger

        client = self._clients[name]
        assert client.wait_for_service(WAIT_S)
        future = client.call_async(Trigger.Request())
        wait_until(future.done, f"an answer of {name}")
        return future.result()


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {WAIT_S} s"
        time.sleep(0.01)


@pytest.fixture
def robot(ros_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Robot]:
    from rclpy.signals import SignalHandlerOptions

    from hpt_ros.nodes.runtime import make_executor

    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOG_DIR"):
        monkeypatch.setenv(name, ros_env[name])
    rclpy.init(args=[], domain_id=int(ros_env["ROS_DOMAIN_ID"]), signal_handler_options=SignalHandlerOptions.NO)
    robot, stop = Robot(), threading.Event()
    executor = make_executor()
    executor.add_node(robot.node)

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield robot
    stop.set()
    thread.join()
    executor.shutdown()
    robot.node.destroy_node()
    rclpy.try_shutdown()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    path = tmp_path / "patient.yaml"
    path.write_text(yaml.safe_dump(embodiment_to(ROBOT)))
    return path


def running(robot: Robot, start: Start, patient: Path) -> subprocess.Popen[str]:
    """A commander that has engaged and moves the arm."""
    process = start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={patient}")
    wait_until(lambda: robot.status is not None, "status")
    wait_until(lambda: robot.wish("engage").success, "engagement")
    robot.target = HOME + 0.4
    wait_until(lambda: robot.status.state == "RUNNING" and robot.speed() > 0.1, "motion")
    return process


def test_from_engage_to_hold(robot: Robot, start: Start, patient: Path) -> None:
    running(robot, start, patient)
    wait_until(lambda: np.abs(robot.position() - robot.target).max() < 1e-3, "arrival at the target")
    arrived = [*robot.target, 0.08]
    wait_until(lambda: np.allclose(robot.labels[-1].position, arrived, rtol=0, atol=1e-3), "its label")
    assert robot.states == ["IDLE", "ENGAGING", "RUNNING"]
    assert robot.labels[-1].source == robot.status.source == "policy"
    assert list(robot.labels[-1].names) == list(SIM.action_names)
    assert robot.status.chunks_accepted > 0
    assert robot.status.chunks_rejected == 0
    assert robot.status.rate_hz > 50

    robot.gripper_m = 0.0
    wait_until(lambda: robot.widths, "a gripper command")
    wait_until(lambda: robot.labels[-1].position[7] == 0.0, "its label")

    robot.target = HOME  # on the way back the policy begins to talk nonsense
    wait_until(lambda: robot.speed() > 0.1, "motion")
    robot.target = np.full(7, np.nan)
    wait_until(lambda: robot.status.state == "HOLDING", "hold")
    assert "no good chunk" in robot.status.reason
    wait_until(lambda: robot.speed() == 0, "rest")
    assert robot.status.chunks_rejected > 0
    assert robot.status.last_rejection.startswith("not_finite")
    assert robot.labels[-1].source == "hold"
    assert robot.widths == [0.0]
    assert [why for why in robot.rejected if "in the past" not in why] == []  # a busy machine may deliver late

    assert robot.wish("disengage").success
    wait_until(lambda: robot.status.state == "IDLE", "idle")
    refused = robot.wish("resume")
    assert not refused.success
    assert "refused in IDLE" in refused.message


def test_one_publisher_commands_the_arm(robot: Robot, start: Start, patient: Path) -> None:
    from trajectory_msgs.msg import JointTrajectory

    def let_go() -> bool:
        return bool(robot.wish("reset" if robot.status.state == "FAULT" else "disengage").success)

    start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={patient}")
    wait_until(lambda: robot.status is not None, "status")
    intruder = rclpy.create_node("intruder")
    publisher = intruder.create_publisher(JointTrajectory, SIM.command.topic, 1)
    wait_until(lambda: not robot.wish("engage").success, "refusal")
    wait_until(lambda: "/intruder" in robot.wish("engage").message, "its name")
    nameless = f"another publisher on {SIM.command.topic}: a node that has not told its name yet"
    for _ in range(5):  # the middleware may know a publisher before its node
        publisher.destroy()
        wait_until(let_go, "an arm that is let go")
        wait_until(lambda: robot.wish("engage").success, "engagement without the intruder")
        robot.target = HOME + 0.1
        wait_until(lambda: robot.status.state == "RUNNING", "running")
        publisher = intruder.create_publisher(JointTrajectory, SIM.command.topic, 1)
        wait_until(lambda: robot.status.state == "FAULT", "fault")
        if robot.status.reason != nameless:
            break
    assert robot.status.reason == f"another publisher on {SIM.command.topic}: /intruder"
    assert robot.wish("reset").success
    wait_until(lambda: robot.wish("engage").message.count("/intruder"), "its name when the arm is to move again")
    intruder.destroy_node()
    wait_until(lambda: robot.status.state == "IDLE", "idle")


def test_silent_joints_stop_the_arm_and_are_named(robot: Robot, start: Start, patient: Path) -> None:
    running(robot, start, patient)
    robot.silent = True
    wait_until(lambda: robot.status.state == "HOLDING", "hold")
    assert robot.status.reason.startswith("joints: the newest sample is")
    wait_until(lambda: robot.speed() == 0, "rest")


def test_sigterm_brakes_and_exits(robot: Robot, start: Start, patient: Path) -> None:
    process = running(robot, start, patient)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0
    wait_until(lambda: robot.labels[-1].source == "hold", "hold")
    wait_until(lambda: robot.speed() == 0, "rest")
    assert [reason for reason in robot.rejected if "in the past" not in reason] == []  # late on a busy machine


def test_a_killed_commander_leaves_an_arm_that_stops(robot: Robot, start: Start, patient: Path) -> None:
    process = running(robot, start, patient)
    process.kill()
    process.wait()
    wait_until(lambda: robot.speed() == 0, "rest")


def test_streamed_positions_are_refused_on_a_real_arm(start: Start, tmp_path: Path) -> None:
    data = embodiment_to(load_embodiment("panda"))
    data["command"] |= {"backend": "joint_position"}
    path = tmp_path / "bold.yaml"
    path.write_text(yaml.safe_dump(data))
    process = start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={path}")
    assert process.wait(timeout=WAIT_S) == 2
    assert "on a real arm" in process.stdout.read()


def test_the_commander_does_not_load_torch(ros_env: dict[str, str]) -> None:
    code = "import sys, hpt_ros.nodes.commander_node; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ros_env, check=False).returncode == 0


def test_a_gripper_that_blocks_gets_the_newest_width() -> None:
    from hpt_ros.nodes.backends import GripperWorker

    sent: list[float] = []
    entered, go_on = threading.Event(), threading.Event()

    def blocking(width_m: float) -> None:
        sent.append(width_m)
        entered.set()
        go_on.wait(WAIT_S)

    worker = GripperWorker(blocking)
    worker.command(0.08)
    assert entered.wait(WAIT_S)
    for width_m in (0.0, 0.08, 0.0):
        worker.command(width_m)
    go_on.set()
    wait_until(lambda: len(sent) == 2, "the second command")
    worker.stop()
    assert sent == [0.08, 0.0]
