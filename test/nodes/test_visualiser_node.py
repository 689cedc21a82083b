"""What the visualiser shows of a chunk and of a camera, over real topics."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import synthetic

from hpt_ros.control.kinematics import forward
from hpt_ros.embodiment import fingerprint, load_embodiment
from hpt_ros.nodes.annotation import annotated
from hpt_ros.paths import config_dir

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

SIM = load_embodiment("sim_panda")
HOME = np.array(SIM.home_rad)
ROWS = [np.append(HOME + 0.01 * i, 0.08) for i in range(SIM.policy.action_horizon)]
WAIT_S = 20.0


@pytest.fixture
def node(ros_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOG_DIR"):
        monkeypatch.setenv(name, ros_env[name])
    rclpy.init(domain_id=int(ros_env["ROS_DOMAIN_ID"]))
    node = rclpy.create_node("policy")
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


def hear(node: Any, kind: Any, topic: str, again: Callable[[], None]) -> Any:
    """The first message of a topic; `again` publishes what it comes from."""
    heard: list[Any] = []
    subscription = node.create_subscription(kind, topic, heard.append, 10)
    deadline = time.monotonic() + WAIT_S
    while not heard:
        assert time.monotonic() < deadline, f"nothing on {topic}"
        again()
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_subscription(subscription)
    return heard[0]


def chunk(node: Any) -> Any:
    from hpt_ros.msg import ActionChunk

    return ActionChunk(
        observation_stamp=node.get_clock().now().to_msg(),
        source="policy",
        fingerprint=fingerprint(SIM),
        period_s=0.1,
        names=list(SIM.action_names),
        rows=np.concatenate(ROWS).tolist(),
    )


def test_the_intended_motion_is_shown(node: Any, start: Callable[..., subprocess.Popen[str]]) -> None:
    from geometry_msgs.msg import PoseArray
    from hpt_ros.msg import ActionChunk
    from trajectory_msgs.msg import JointTrajectory

    start("hpt_ros.nodes.visualiser_node", "-r", "__ns:=/left")
    publisher = node.create_publisher(ActionChunk, "/left/hpt_ros/action_chunk", 10)
    speak = lambda: publisher.publish(chunk(node))  # noqa: E731
    trajectory = hear(node, JointTrajectory, "/left/hpt_ros/intended/trajectory", speak)
    assert trajectory.joint_names == list(SIM.joints.names)
    assert len(trajectory.points) == SIM.policy.action_horizon
    assert trajectory.points[1].time_from_start.nanosec == 200_000_000
    np.testing.assert_allclose(trajectory.points[3].positions, HOME + 0.03)
    path = hear(node, PoseArray, "/left/hpt_ros/intended/path", speak)
    tip = path.poses[-1].position
    np.testing.assert_allclose([tip.x, tip.y, tip.z], forward(ROWS[-1][:7])[:3, 3])
    assert path.header.frame_id == "base"


def test_without_cv_bridge_its_package_is_named(start: Callable[..., subprocess.Popen[str]]) -> None:
    if subprocess.run([sys.executable, "-c", "import cv_bridge"], capture_output=True, check=False).returncode == 0:
        pytest.skip("cv_bridge is installed")
    process = start("hpt_ros.nodes.visualiser_node", "-p", "annotate:=true")
    assert process.wait(timeout=WAIT_S) == 4
    assert "ros-$ROS_DISTRO-cv-bridge" in process.stdout.read()


def test_a_camera_is_shown_as_the_network_sees_it(node: Any, start: Callable[..., subprocess.Popen[str]]) -> None:
    pytest.importorskip("cv_bridge", reason="needs ROS 2's cv_bridge, which has no wheel")
    from sensor_msgs.msg import Image

    start("hpt_ros.nodes.visualiser_node", "-p", "annotate:=true")
    camera = SIM.cameras[0]
    publisher = node.create_publisher(Image, camera.topic, 10)
    picture = synthetic.frame(0, *camera.size_px)
    view = hear(
        node, Image, f"/hpt_ros/view/{camera.name}", lambda: publisher.publish(synthetic.image(time.time_ns(), picture))
    )
    shown = np.frombuffer(view.data, np.uint8).reshape(view.height, view.width, 3)
    scale = view.width // picture.shape[1]
    np.testing.assert_array_equal(shown[: picture.shape[0] * scale : scale, ::scale], picture)


def test_the_motion_is_drawn_below_the_picture() -> None:
    frame = synthetic.frame(0, 64, 64)
    still = annotated(frame, np.stack([ROWS[0]] * 8), 7, "front")
    moving = annotated(frame, np.stack(ROWS), 7, "front")
    assert still.shape == moving.shape == (320 + 90, 320, 3)
    np.testing.assert_array_equal(still[:320], moving[:320])
    assert (still[320:] != moving[320:]).any()
    assert annotated(frame, None, 7, "front").shape == still.shape


def test_the_shipped_layout_shows_what_is_published() -> None:
    layout = json.loads((config_dir("foxglove") / "policy.json").read_text())
    panels = layout["configById"]
    views = [panel["imageMode"]["imageTopic"] for panel in panels.values() if "imageMode" in panel]
    assert views == [f"/hpt_ros/view/{camera.name}" for camera in load_embodiment("fr3").cameras]
    assert list(panels["3D!arm"]["topics"]) == ["/hpt_ros/intended/path"]
    text = json.dumps(layout["layout"])
    assert all(f'"{name}"' in text for name in panels)
