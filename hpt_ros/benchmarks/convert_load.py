"""The recordings of `hpt-ros bench convert`: a Panda at 1 kHz and two moving 640 x 480 pictures at 30 Hz."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer

from hpt_ros.embodiment import Embodiment, StreamSpec, embodiment_from, embodiment_to, load_embodiment
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.streams.cdr import typestore, with_stamp

CAMERA_PX, POLICY_PX, POLICY_HZ = (480, 640), (224, 224), 15
_START_NS = 1_700_000_000_000_000_000
_PICTURES = 15
_MESSAGE_S = 0.01  # as many joint and command messages differ as fit into a second at this distance


def embodiment(transport: str) -> Embodiment:
    """sim_panda with pictures of the size that ResNet takes; `transport`: raw or compressed."""
    data = embodiment_to(load_embodiment("sim_panda"))
    data["policy"]["rate_hz"] = POLICY_HZ
    for camera in data["cameras"]:
        camera |= {"transport": transport, "size_px": list(POLICY_PX)}
    return embodiment_from(data)


def record(root: Path, robot: Embodiment, seconds: float, episodes: int) -> list[Path]:
    """`episodes` bags under `root`; their data is one file with several names, so that the disk is not filled."""
    root.mkdir(parents=True)
    bags = [root / str(number) for number in range(1, episodes + 1)]
    writer = Writer(bags[0], version=9, storage_plugin=StoragePlugin.MCAP)
    for key, value in EpisodeMetadata(robot, "bench", "", "bench", 1.0, "success").to_custom_data().items():
        writer.set_custom_data(key, value)
    with writer:
        specs = {spec.topic: spec for spec in (*robot.streams(), robot.command_stream())}
        connections = {
            topic: writer.add_connection(topic, spec.msgtype, typestore=typestore()) for topic, spec in specs.items()
        }
        kept = {spec.topic: list(_messages(robot, spec)) for spec in specs.values()}
        for topic, stamp_ns, number in _schedule(specs, seconds):
            writer.write(connections[topic], stamp_ns, with_stamp(kept[topic][number % len(kept[topic])], stamp_ns))
    for bag in bags[1:]:
        bag.mkdir()
        shutil.copyfile(bags[0] / "metadata.yaml", bag / "metadata.yaml")
        os.link(bags[0] / "1.mcap", bag / "1.mcap")
    return bags


def _schedule(specs: dict[str, StreamSpec], seconds: float) -> Iterator[tuple[str, int, int]]:
    due = [
        (_START_NS + round(number * 1e9 / spec.rate_hz), topic, number)
        for topic, spec in specs.items()
        for number in range(round(seconds * spec.rate_hz))
    ]
    for stamp_ns, topic, number in sorted(due):
        yield topic, stamp_ns, number


def _messages(robot: Embodiment, spec: StreamSpec) -> Iterator[bytes]:
    """Messages that are sent in turn."""
    if spec.key.startswith("camera."):
        for number in range(_PICTURES):
            yield _image(spec.msgtype, _picture(number, sum(spec.key.encode())))
        return
    for number in range(round(1 / _MESSAGE_S)):
        wave = 0.3 * np.sin(2 * np.pi * number * _MESSAGE_S + np.arange(len(robot.command_names)))
        if spec.key == "command":
            yield _serialize(
                spec.msgtype,
                names=list(robot.command_names),
                position=wave,
                velocity=np.zeros(len(wave)),
                source="bench",
                intervention=False,
            )
            continue
        names = list(robot.joints.names) if spec.key == "joints" or robot.gripper is None else list(robot.gripper.names)
        values = wave[: len(names)]
        yield _serialize(spec.msgtype, name=names, position=values, velocity=values, effort=values)


def _image(msgtype: str, pixels: NDArray[np.uint8]) -> bytes:
    if msgtype.endswith("CompressedImage"):
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
        return _serialize(msgtype, format="rgb8; jpeg compressed bgr8", data=data.reshape(-1))
    height, width = pixels.shape[:2]
    data = pixels.reshape(-1)
    return _serialize(msgtype, height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width, data=data)


def _picture(number: int, seed: int) -> NDArray[np.uint8]:
    """Blocks of colour with blurred edges and the noise of a sensor: a JPEG of it is as large as one of a real scene."""
    random = np.random.default_rng(seed)
    blocks = random.integers(30, 225, (12, 16, 3), dtype=np.uint8)
    scene = cv2.resize(np.roll(blocks, number, axis=1), CAMERA_PX[::-1], interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng([seed, number]).normal(0, 3, scene.shape)
    return np.asarray(np.clip(scene + noise, 0, 255), dtype=np.uint8)


def _serialize(msgtype: str, **fields: Any) -> bytes:
    types = typestore().types
    stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="bench")
    return bytes(typestore().serialize_cdr(types[msgtype](header=header, **fields), msgtype))
