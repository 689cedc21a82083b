"""How bags are commonly converted: every message is decoded and every image resized, in one loop; aligned afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.image import compressed_image_to_cvimage, image_to_cvimage
from rosbags.rosbag2 import Reader

from hpt_ros.embodiment import Embodiment
from hpt_ros.streams.cdr import typestore


def convert_naively(bag: Path, robot: Embodiment, out: Path) -> int:
    """Write the aligned arrays of one bag; returns the number of ticks. Receive times, nearest sample in the past."""
    specs = {spec.topic: spec for spec in (*robot.streams(), robot.command_stream())}
    times: dict[str, list[int]] = {topic: [] for topic in specs}
    values: dict[str, list[NDArray[Any]]] = {topic: [] for topic in specs}
    sizes = {camera.topic: camera.size_px for camera in robot.cameras}
    with Reader(bag) as reader:
        wanted = [connection for connection in reader.connections if connection.topic in specs]
        for connection, receive_ns, raw in reader.messages(wanted):
            message = typestore().deserialize_cdr(raw, connection.msgtype)
            times[connection.topic].append(receive_ns)
            values[connection.topic].append(_value(message, connection.msgtype, sizes.get(connection.topic)))
    start_ns, stop_ns = max(t[0] for t in times.values()), min(t[-1] for t in times.values())
    ticks = np.arange(start_ns, stop_ns, robot.policy.period_ns)
    out.mkdir()
    for number, topic in enumerate(specs):
        picked = np.searchsorted(times[topic], ticks, side="right") - 1
        np.save(out / f"{number}.npy", np.stack([values[topic][i] for i in picked]))
    return len(ticks)


def _value(message: Any, msgtype: str, size_px: tuple[int, int] | None) -> NDArray[Any]:
    if size_px is None:
        return np.array(message.position)
    image: Any
    if msgtype.endswith("CompressedImage"):
        image = cv2.cvtColor(np.asarray(compressed_image_to_cvimage(message)), cv2.COLOR_BGR2RGB)
    else:
        image = image_to_cvimage(message, "rgb8")
    return np.asarray(cv2.resize(image, size_px[::-1], interpolation=cv2.INTER_AREA))
