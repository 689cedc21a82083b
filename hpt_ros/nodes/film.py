"""Films the cameras of an embodiment into one video while trials run."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from rclpy.node import Node

from hpt_ros.embodiment import Embodiment
from hpt_ros.evaluation.video import TrialVideo
from hpt_ros.nodes.messages import message_class
from hpt_ros.nodes.runtime import LateSubscriptions
from hpt_ros.streams.decode import rgb_image


class Film:
    """Keeps the newest frame of each camera and writes them side by side at `rate_hz`; a context manager."""

    def __init__(self, node: Node, embodiment: Embodiment, path: Path, rate_hz: float) -> None:
        self.caption = ""
        self._cameras = embodiment.cameras
        self._newest: dict[str, bytes] = {}
        self._path, self._rate_hz = path, rate_hz
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="film", daemon=True)
        self._subscriptions = LateSubscriptions(node)
        for camera in self._cameras:
            self._subscriptions.add(
                camera.topic,
                message_class(camera.msgtype),
                partial(self._newest.__setitem__, camera.name),
                1,
            )

    def __enter__(self) -> Film:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        with TrialVideo(self._path, self._rate_hz) as video:
            while not self._stop.wait(1.0 / self._rate_hz):
                if self.caption and len(self._newest) == len(self._cameras):
                    images = {c.name: rgb_image(self._newest[c.name], c.msgtype) for c in self._cameras}
                    video.add(images, self.caption)
