"""Pictures of the scene as the messages that camera drivers send."""

from __future__ import annotations

import sys
from array import array
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from hpt_ros.configuration import check
from hpt_ros.embodiment import Camera, DepthCamera
from hpt_ros.nodes.runtime import RELIABLE_10
from hpt_ros.sim.cameras import Image


class CameraOutlet:
    """The topics of one camera, raw and compressed, as image_transport names them."""

    def __init__(self, node: Node, camera: Camera) -> None:
        raw_topic = camera.topic
        if camera.transport == "compressed":
            raw_topic = camera.topic.removesuffix("/compressed")
            check(
                raw_topic != camera.topic, f"cameras.{camera.name}.topic", camera.topic, "a topic below .../compressed"
            )
        self._frame = f"{camera.name}_color_optical_frame"
        self._raw: Publisher = node.create_publisher(ImageMessage, raw_topic, RELIABLE_10)
        self._compressed: Publisher = node.create_publisher(CompressedImage, f"{raw_topic}/compressed", RELIABLE_10)

    @property
    def wanted(self) -> bool:
        """Whether anybody looks."""
        return bool(self._raw.get_subscription_count() or self._compressed.get_subscription_count())

    def publish(self, stamp_ns: int, image: Image) -> None:
        """Send an RGB image (H, W, 3) to those who look."""
        if self._raw.get_subscription_count():
            _send(self._raw, _message(image, "rgb8"), self._frame, stamp_ns)
        if self._compressed.get_subscription_count():
            jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
            message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=array("B", jpeg.tobytes()))
            _send(self._compressed, message, self._frame, stamp_ns)


class DepthOutlet:
    """The topic of one depth camera, 16UC1 [mm] as REP 118 has it."""

    def __init__(self, node: Node, camera: DepthCamera) -> None:
        self._frame = f"{camera.name}_optical_frame"
        self._publisher: Publisher = node.create_publisher(ImageMessage, camera.topic, RELIABLE_10)

    @property
    def wanted(self) -> bool:
        """Whether anybody looks."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, stamp_ns: int, image: NDArray[np.uint16]) -> None:
        """Send a depth image (H, W) [mm]."""
        _send(self._publisher, _message(image, "16UC1"), self._frame, stamp_ns)


def set_stamp(stamp: Any, nanoseconds: int) -> None:
    """Write a time into a builtin_interfaces/Time."""
    stamp.sec, stamp.nanosec = divmod(nanoseconds, 10**9)


def _message(image: NDArray[Any], encoding: str) -> Any:
    message = ImageMessage(
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=sys.byteorder == "big",
        step=image[0].nbytes,
    )
    message.data = array("B", image.tobytes())
    return message


def _send(publisher: Publisher, message: Any, frame: str, stamp_ns: int) -> None:
    message.header.frame_id = frame
    set_stamp(message.header.stamp, stamp_ns)
    publisher.publish(message)
