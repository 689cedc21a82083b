"""The cameras of an embodiment while trials run: a video of each trial, and the picture of the start to be restored."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from rclpy.node import Node
from sensor_msgs.msg import Image as ImageMessage

from hpt_ros.embodiment import Embodiment
from hpt_ros.evaluation.scene import Image, References, scene_picture, write_image, write_page
from hpt_ros.evaluation.video import TrialVideo
from hpt_ros.nodes.messages import message_class
from hpt_ros.nodes.runtime import RELIABLE_1, LateSubscriptions
from hpt_ros.streams.decode import rgb_image

SCENE_TOPIC = "/hpt_ros/evaluate/scene"
_SCENE_PERIOD_S = 0.5


class CameraViews:
    """The newest frame of each camera, decoded when it is asked for."""

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._cameras = embodiment.cameras
        self._newest: dict[str, bytes] = {}
        self._subscriptions = LateSubscriptions(node)
        for camera in self._cameras:
            keep = partial(self._newest.__setitem__, camera.name)
            self._subscriptions.add(camera.topic, message_class(camera.msgtype), keep, 1)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the cameras, in the embodiment's order."""
        return tuple(camera.name for camera in self._cameras)

    def images(self) -> dict[str, Image]:
        """RGB by camera (H, W, 3); empty until every camera has sent one."""
        if len(self._newest) < len(self._cameras):
            return {}
        return {c.name: rgb_image(self._newest[c.name], c.msgtype) for c in self._cameras}


class Film:
    """Writes a video of each trial, all cameras side by side at `rate_hz`; a context manager."""

    def __init__(self, views: CameraViews, rate_hz: float) -> None:
        self._views, self._rate_hz = views, rate_hz
        self._lock = threading.Lock()
        self._video: TrialVideo | None = None
        self._caption = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="film", daemon=True)

    def __enter__(self) -> Film:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)
        self.end()

    def begin(self, path: Path, caption: str) -> None:
        """From now on into this file."""
        self.end()
        with self._lock:
            self._video, self._caption = TrialVideo(path, self._rate_hz), caption

    def end(self) -> None:
        """Complete the file; without one nothing happens."""
        with self._lock:
            video, self._video = self._video, None
            if video is not None:
                video.close()

    def _run(self) -> None:
        while not self._stop.wait(1.0 / self._rate_hz):
            with self._lock:
                if self._video is not None and (images := self._views.images()):
                    self._video.add(images, self._caption)


class SceneView:
    """While the start is being restored: `<folder>/scene.png` and `scene.html` twice a second, and an image topic.

    The picture is seen over SSH by copying the file, on a desktop in the browser, and by `rqt_image_view` on SCENE_TOPIC.
    """

    def __init__(self, node: Node, views: CameraViews, folder: Path, references: References) -> None:
        self._views, self._references = views, references
        self.picture, self.page = folder / "scene.png", folder / "scene.html"
        self._publisher = node.create_publisher(ImageMessage, SCENE_TOPIC, RELIABLE_1)
        self._block: int | None = None
        self._lock = threading.Lock()
        self._timer = node.create_timer(_SCENE_PERIOD_S, self._refresh)

    def show(self, block: int, title: str) -> None:
        """Begin with the start of a block; the first picture is there when this returns, if the cameras are."""
        with self._lock:
            self._block = block
        self.picture.parent.mkdir(parents=True, exist_ok=True)
        write_page(self.page, self.picture, title)
        self._refresh()

    def take(self) -> None:
        """The trial starts: what is seen now is its block's reference, unless there is one."""
        with self._lock:
            if self._block is not None:
                self._references.keep(self._block, self._views.images())
            self._block = None

    def _refresh(self) -> None:
        with self._lock:
            if self._block is None or not (images := self._views.images()):
                return
            picture = scene_picture(self._references.of(self._block, self._views.names), images)
            write_image(self.picture, picture)
        message = ImageMessage(
            height=picture.shape[0], width=picture.shape[1], encoding="rgb8", step=3 * picture.shape[1]
        )
        message.data.frombytes(picture.tobytes())
        self._publisher.publish(message)
