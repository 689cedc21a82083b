"""The simulator and the expert over real topics, as the other nodes meet them."""

from __future__ import annotations

import signal
import subprocess
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from hpt_ros.msg import ActionChunk
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_ros.embodiment import fingerprint, load_embodiment
from hpt_ros.errors import StreamError
from hpt_ros.nodes.runtime import RELIABLE_1, RELIABLE_10
from hpt_ros.nodes.session import Session
from hpt_ros.sim.sim_node import STREAM_TOPIC

ROBOT = load_embodiment("sim_panda")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def session(ros_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as client:
        yield client


def listen(session: Session, message_class: Any, topic: str) -> list[Any]:
    received: list[Any] = []
    session.node.create_subscription(message_class, topic, received.append, RELIABLE_10)
    return received


def start_expert(session: Session) -> None:
    """Ask until the expert has discovered the simulator."""

    def started() -> bool:
        try:
            session.trigger("/hpt_ros/expert/start")
        except StreamError:
            return False
        return True

    session.wait_for("the expert", started, 20.0)


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)


def test_topics_are_those_of_the_embodiment(session: Session, start: Start) -> None:
    joints = listen(session, JointState, ROBOT.joints.topic)
    gripper = listen(session, JointState, ROBOT.gripper.topic)
    raw = {c.name: listen(session, Image, c.topic) for c in ROBOT.cameras}
    jpeg = {c.name: listen(session, CompressedImage, f"{c.topic}/compressed") for c in ROBOT.cameras}
    start("hpt_ros.sim.sim_node", "-p", "image_height:=48", "-p", "image_width:=64")
    session.wait_for("images of every kind", lambda: all(len(x) > 3 for x in (*raw.values(), *jpeg.values())), 20.0)
    session.wait_for("joint states", lambda: len(joints) > 300 and len(gripper) > 5, 10.0)

    assert joints[0].name == list(ROBOT.joints.names)
    assert len(joints[0].position) == len(joints[0].velocity) == len(joints[0].effort) == 7
    assert gripper[0].name == list(ROBOT.gripper.names)
    assert sum(gripper[0].position) == pytest.approx(0.08, abs=1e-3)
    steps = np.diff([stamp_ns(m) for m in joints])
    assert np.all(steps > 0)
    assert np.median(steps) == 1_000_000
    assert abs(stamp_ns(joints[-1]) - time.time_ns()) < 5e9
    for name, images in raw.items():
        image = images[-1]
        assert (image.height, image.width, image.encoding, image.step) == (48, 64, "rgb8", 192)
        small = jpeg[name][-1]
        assert small.format == "rgb8; jpeg compressed bgr8"
        same = next((m for m in images if stamp_ns(m) == stamp_ns(small)), None)
        assert same is not None, "raw and compressed carry the same stamps"
        decoded = cv2.imdecode(np.frombuffer(small.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        original = np.frombuffer(same.data, np.uint8).reshape(48, 64, 3)
        assert np.abs(decoded.astype(int) - original).mean() < 6


def test_depth_cameras_send_millimetres_with_the_stamps_of_the_images(session: Session, start: Start) -> None:
    robot = load_embodiment("sim_panda_depth")
    (camera,) = robot.depth
    wrist = next(c for c in robot.cameras if c.name == "wrist")
    maps, images = listen(session, Image, camera.topic), listen(session, Image, wrist.topic)
    size = ("-p", "image_height:=48", "-p", "image_width:=64")
    start("hpt_ros.sim.sim_node", "-p", "embodiment:=sim_panda_depth", *size)
    session.wait_for("depth", lambda: {stamp_ns(m) for m in maps} & {stamp_ns(m) for m in images}, 20.0)
    message = maps[-1]
    assert (message.height, message.width, message.encoding, message.step) == (48, 64, "16UC1", 128)
    millimetres = np.frombuffer(message.data, np.uint16)
    assert 400 < np.median(millimetres) < 800, "from the start pose down to the table"


def test_commands_move_the_arm_and_a_reset_puts_it_back(session: Session, start: Start) -> None:
    joints = listen(session, JointState, ROBOT.joints.topic)
    gripper = listen(session, JointState, ROBOT.gripper.topic)
    arm = session.node.create_publisher(JointTrajectory, ROBOT.command.topic, RELIABLE_1)
    stream = session.node.create_publisher(Float64MultiArray, STREAM_TOPIC, RELIABLE_1)
    hand = session.node.create_publisher(Float64MultiArray, ROBOT.command.gripper_topic, RELIABLE_10)
    start("hpt_ros.sim.sim_node", "-p", "task:=lift", "-p", "seed:=3")
    session.wait_for("the controllers", lambda: joints and arm.get_subscription_count(), 20.0)
    session.wait_for("the hand", lambda: hand.get_subscription_count() and stream.get_subscription_count(), 5.0)

    home = np.array(joints[0].position)
    point = JointTrajectoryPoint(positions=array("d", home + 0.05), velocities=array("d", [0.0] * 7))
    point.time_from_start.nanosec = 200_000_000
    arm.publish(JointTrajectory(joint_names=list(ROBOT.joints.names), points=[point]))
    session.wait_for("the trajectory's end", lambda: np.allclose(joints[-1].position, home + 0.05, atol=2e-3), 10.0)
    stream.publish(Float64MultiArray(data=array("d", home + 0.03)))
    session.wait_for("the streamed target", lambda: np.allclose(joints[-1].position, home + 0.03, atol=2e-3), 10.0)
    hand.publish(Float64MultiArray(data=array("d", [0.03])))
    session.wait_for("the hand's width", lambda: abs(sum(gripper[-1].position) - 0.03) < 2e-3, 10.0)
    stream.publish(Float64MultiArray(data=array("d", [0.0] * 3)))  # refused: the motion in force goes on

    session.reset_scene("lift", 3)
    session.wait_for("the start pose", lambda: np.allclose(joints[-1].position, home, atol=1e-3), 5.0)
    status = session.latest["sim"]
    assert (status.task, status.seed, status.episode, status.success) == ("lift", 3, 2, False)
    with pytest.raises(StreamError, match="reach, lift, push"):
        session.reset_scene("juggle", 0)


def test_expert_publishes_the_plan_from_start_to_stop(session: Session, start: Start) -> None:
    chunks = listen(session, ActionChunk, "/hpt_ros/action_chunk")
    joints = listen(session, JointState, ROBOT.joints.topic)
    start("hpt_ros.sim.expert_node")
    with pytest.raises(StreamError, match="/hpt_ros/sim/status"):
        session.trigger("/hpt_ros/expert/start", timeout_s=20.0)
    start("hpt_ros.sim.sim_node", "-p", "task:=reach")
    session.wait_for("the simulator", lambda: session.latest.get("sim") and joints, 20.0)
    start_expert(session)
    session.wait_for("chunks", lambda: len(chunks) >= 6, 10.0)
    assert session.trigger("/hpt_ros/expert/stop") == "stopped"
    time.sleep(0.2)
    count = len(chunks)
    time.sleep(0.3)
    assert len(chunks) == count

    first = chunks[0]
    assert (first.source, first.fingerprint) == ("teleop:expert", fingerprint(ROBOT))
    assert list(first.names) == list(ROBOT.action_names)
    assert first.period_s == pytest.approx(1 / ROBOT.policy.rate_hz)
    rows = np.array(first.rows).reshape(ROBOT.policy.action_horizon, len(ROBOT.action_names))
    np.testing.assert_allclose(rows[0, :7], joints[0].position, atol=0.05)
    assert [c.sequence for c in chunks[:6]] == list(range(6))
    assert not np.array_equal(rows, np.array(chunks[5].rows).reshape(rows.shape))


def test_a_reset_stops_the_expert(session: Session, start: Start) -> None:
    chunks = listen(session, ActionChunk, "/hpt_ros/action_chunk")
    joints = listen(session, JointState, ROBOT.joints.topic)
    start("hpt_ros.sim.sim_node")
    start("hpt_ros.sim.expert_node")
    session.wait_for("the simulator", lambda: session.latest.get("sim") and joints, 20.0)
    start_expert(session)
    session.wait_for("a chunk", lambda: chunks, 10.0)
    session.reset_scene("push", 1)
    time.sleep(0.3)
    assert session.trigger("/hpt_ros/expert/stop") == "was not running"


def test_faster_than_real_time_runs_on_its_own_clock(session: Session, start: Start) -> None:
    clock = listen(session, Clock, "/clock")
    start("hpt_ros.sim.sim_node", "-p", "speed:=3")
    session.wait_for("/clock", lambda: len(clock) > 200, 20.0)
    first, last = ((m.clock.sec * 10**9 + m.clock.nanosec) for m in (clock[0], clock[-1]))
    assert 0 < first < last < 60 * 10**9
    assert session.wait_for_status("sim").real_time_factor > 1.2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_quickly_and_quietly(session: Session, start: Start, number: int) -> None:
    images = listen(session, Image, ROBOT.cameras[0].topic)
    node = start("hpt_ros.sim.sim_node")
    session.wait_for("an image", lambda: images, 20.0)
    began = time.monotonic()
    node.send_signal(number)
    output, _ = node.communicate(timeout=5.0)
    assert node.returncode == 0
    assert time.monotonic() - began < 4.0
    assert "Traceback" not in output
    assert "EGL" not in output


def test_bad_parameters_are_refused(start: Start) -> None:
    for parameter, expected in (("task:=juggle", "reach, lift, push"), ("speed:=0.0", "0.01 to 100")):
        node = start("hpt_ros.sim.sim_node", "-p", parameter)
        output, _ = node.communicate(timeout=20.0)
        assert node.returncode == 2
        assert expected in output
        assert "Traceback" not in output
