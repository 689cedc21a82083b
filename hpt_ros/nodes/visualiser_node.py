"""The visualiser: what the policy intends and what its network sees, for RViz and Foxglove. Commands nothing."""

from __future__ import annotations

import sys
from array import array
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose, PoseArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_ros.control.intent import tool_path
from hpt_ros.embodiment import Camera, load_embodiment
from hpt_ros.errors import HptRosError, MissingDependencyError
from hpt_ros.msg import ActionChunk
from hpt_ros.nodes.annotation import annotated
from hpt_ros.nodes.messages import message_class, set_time
from hpt_ros.nodes.runtime import RELIABLE_10, HptNode, LateSubscriptions, run_node
from hpt_ros.streams.decode import camera_frame

_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class VisualiserNode(HptNode):
    """Parameters and wiring: chunks -> /hpt_ros/intended/{trajectory,path}; cameras -> /hpt_ros/view/<camera>.

    Parameters: embodiment (preset or file), annotate (publish the views; needs cv_bridge), view_rate_hz.

    Raises:
        MissingDependencyError: `annotate` without cv_bridge.
    """

    def __init__(self) -> None:
        super().__init__("visualiser_node")
        self.embodiment = load_embodiment(self.declare_parameter("embodiment", "sim_panda").value)
        self._rows: np.ndarray[Any, Any] | None = None
        self._source = ""
        self._frames: dict[str, bytes] = {}
        self._trajectory = self.create_publisher(JointTrajectory, "/hpt_ros/intended/trajectory", RELIABLE_10)
        self._path = self.create_publisher(PoseArray, "/hpt_ros/intended/path", RELIABLE_10)
        self.create_subscription(ActionChunk, "/hpt_ros/action_chunk", self._on_chunk, _NEWEST)
        rate_hz = float(self.declare_parameter("view_rate_hz", 5.0).value)
        if self.declare_parameter("annotate", False).value:
            self._bridge = _cv_bridge()
            self._late = LateSubscriptions(self)
            self._views = {}
            for camera in self.embodiment.cameras:
                self._late.add(camera.topic, message_class(camera.msgtype), partial(self._on_frame, camera.name), 1)
                self._views[camera.name] = self.create_publisher(Image, f"/hpt_ros/view/{camera.name}", RELIABLE_10)
            self.create_timer(1 / rate_hz, self._publish_views)

    def _on_frame(self, name: str, raw: bytes) -> None:
        self._frames[name] = raw

    def _on_chunk(self, message: Any) -> None:
        rows = np.array(message.rows, dtype=float)
        width = len(message.names)
        if not width or len(rows) % width or not np.isfinite(rows).all():
            return  # the commander says what is wrong with it
        self._rows, self._source = rows.reshape(-1, width), message.source
        joints = self.embodiment.joints.names
        if tuple(message.names[: len(joints)]) != joints:
            return
        q = self._rows[:, : len(joints)]
        self._publish_trajectory(message, q)
        self._publish_path(message, q)

    def _publish_trajectory(self, chunk: Any, q: np.ndarray[Any, Any]) -> None:
        """Row i is due at the observation's stamp plus i + 1 periods."""
        message = JointTrajectory(joint_names=list(self.embodiment.joints.names))
        message.header.stamp = chunk.observation_stamp
        for i, row in enumerate(q):
            point = JointTrajectoryPoint(positions=array("d", row.tobytes()))
            set_time(point.time_from_start, round((i + 1) * chunk.period_s * 1e9))
            message.points.append(point)
        self._trajectory.publish(message)

    def _publish_path(self, chunk: Any, q: np.ndarray[Any, Any]) -> None:
        message = PoseArray()
        message.header.stamp = chunk.observation_stamp
        message.header.frame_id = self.embodiment.command.frame
        for position, orientation in tool_path(list(q)):
            pose = Pose()
            pose.position.x, pose.position.y, pose.position.z = position.tolist()
            pose.orientation.w, pose.orientation.x, pose.orientation.y, pose.orientation.z = orientation.tolist()
            message.poses.append(pose)
        self._path.publish(message)

    def _publish_views(self) -> None:
        for camera in self.embodiment.cameras:
            if (raw := self._frames.pop(camera.name, None)) is not None:
                self._publish_view(camera, raw)

    def _publish_view(self, camera: Camera, raw: bytes) -> None:
        try:
            frame = camera_frame(raw, camera)
        except HptRosError as error:
            self.get_logger().warning(f"{camera.name}: {error.message}", throttle_duration_sec=5.0)
            return
        picture = annotated(frame, self._rows, len(self.embodiment.joints.names), f"{camera.name} {self._source}")
        message = self._bridge.cv2_to_imgmsg(picture, encoding="rgb8")
        message.header.frame_id = f"{camera.name}_color_optical_frame"
        message.header.stamp = self.get_clock().now().to_msg()
        self._views[camera.name].publish(message)


def _cv_bridge() -> Any:
    try:
        from cv_bridge import CvBridge  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingDependencyError(
            f"annotated images need the ROS package cv_bridge ({error})",
            "install ros-$ROS_DISTRO-cv-bridge, or leave annotate:=true away",
        ) from error
    return CvBridge()


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run hpt_ros visualiser_node`."""
    return run_node(VisualiserNode, args)


if __name__ == "__main__":
    sys.exit(main())
