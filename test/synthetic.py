"""Serialized messages and recorded episodes of a small made-up robot, for tests without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, load_embodiment
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.session import OfferedTopic, RecordingSession
from hpt_ros.streams.cdr import typestore

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def embodiment(**policy: Any) -> Embodiment:
    """sim_panda with one raw 32 x 24 camera `front` and one JPEG camera `wrist`, and changed policy values."""
    data = embodiment_to(load_embodiment("sim_panda"))
    data["policy"] |= {"execute_rows": 4} | policy
    data["joints"]["timing"]["rate_hz"] = 200  # as `messages` sends them
    for camera, transport in zip(data["cameras"], ("raw", "compressed"), strict=True):
        camera |= {"transport": transport, "size_px": [16, 16]}
    return embodiment_from(data)


def depth_embodiment(**policy: Any) -> Embodiment:
    """`embodiment` with two depth cameras: `near` sends millimetres, `far` metres as big-endian floats."""
    data = embodiment_to(embodiment(**policy))
    timing = data["cameras"][0]["timing"]
    data["depth"] = [
        {"name": name, "topic": f"/{name}/depth", "size_px": [12, 16], "range_m": [0.1, 2.0], "timing": timing}
        for name in ("near", "far")
    ]
    return embodiment_from(data)


def _new(msgtype: str, stamp_ns: int, **fields: Any) -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    header = types["std_msgs/msg/Header"](stamp=time, frame_id="")
    return types[msgtype](header=header, **fields)


def _serialize(msgtype: str, stamp_ns: int, little_endian: bool = True, **fields: Any) -> bytes:
    message = _new(msgtype, stamp_ns, **fields)
    return bytes(typestore().serialize_cdr(message, msgtype, little_endian=little_endian))


def joint_state(stamp_ns: int, positions: dict[str, float], little_endian: bool = True) -> bytes:
    empty = np.array([], dtype=np.float64)
    return _serialize(
        "sensor_msgs/msg/JointState",
        stamp_ns,
        little_endian,
        name=list(positions),
        position=np.array(list(positions.values()), dtype=np.float64),
        velocity=empty,
        effort=empty,
    )


def image(
    stamp_ns: int, pixels: np.ndarray[Any, Any], encoding: str = "rgb8", padding: int = 0, big_endian: bool = False
) -> bytes:
    rows = pixels.reshape(pixels.shape[0], -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    return _serialize(
        "sensor_msgs/msg/Image",
        stamp_ns,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=padded.shape[1],
        data=padded.reshape(-1),
    )


def compressed(stamp_ns: int, pixels: np.ndarray[Any, Any], extension: str = ".jpg") -> bytes:
    data = cv2.imencode(extension, pixels)[1].reshape(-1)
    return _serialize("sensor_msgs/msg/CompressedImage", stamp_ns, format=extension[1:], data=data)


def command(stamp_ns: int, robot: Embodiment, values: np.ndarray[Any, Any], source: str = "teleop:test") -> bytes:
    return _serialize(
        "hpt_ros/msg/Command",
        stamp_ns,
        names=list(robot.command_names),
        position=np.asarray(values, dtype=np.float64),
        velocity=np.zeros(len(values)),
        source=source,
        intervention=False,
    )


def joint_values(t_ns: int, count: int) -> np.ndarray[Any, Any]:
    """A slow motion, different for every joint."""
    return 0.5 * np.sin((t_ns - START_NS) * 1e-9 + np.arange(count))


def frame(number: int, height: int = 24, width: int = 32) -> np.ndarray[Any, Any]:
    """Pixels that differ from frame to frame."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def depth_map(number: int, height: int = 24, width: int = 32) -> np.ndarray[Any, Any]:
    """Millimetres that differ from frame to frame, a quarter of them not measured."""
    rng = np.random.default_rng(number)
    values = rng.integers(1, 5000, (height, width), dtype=np.uint16)
    return np.where(rng.random((height, width)) < 0.25, 0, values).astype(np.uint16)


def messages(robot: Embodiment, seconds: float, joints_hz: float = 200.0) -> Iterator[tuple[str, int, bytes]]:
    """(stream key, stamp, serialized message) of an undisturbed episode, by stamp."""
    produced: list[tuple[str, int, bytes]] = []
    for spec in (*robot.streams(), robot.command_stream()):
        period_ns = round(1e9 / (joints_hz if spec.key == "joints" else spec.rate_hz))
        for i in range(int(seconds * 1e9 / period_ns)):
            stamp = START_NS + i * period_ns
            produced.append((spec.key, stamp, _message(robot, spec.key, stamp, i)))
    yield from sorted(produced, key=lambda item: item[1])


def taken_over(stream: Iterator[tuple[str, int, bytes]], from_ms: int, to_ms: int) -> Iterator[tuple[str, int, bytes]]:
    """The same episode with the commands stamped from, up to but not including, marked as a person's who took over."""
    for key, stamp_ns, raw in stream:
        taken = key == "command" and from_ms * MS <= stamp_ns - START_NS < to_ms * MS
        yield key, stamp_ns, raw[:-1] + b"\1" if taken else raw  # the flag is the last field


def _message(robot: Embodiment, key: str, stamp: int, number: int) -> bytes:
    count = len(robot.joints.names)
    if key == "joints":
        return joint_state(stamp, dict(zip(robot.joints.names, joint_values(stamp, count), strict=True)))
    if key == "gripper":
        return joint_state(stamp, {"panda_finger_joint1": 0.01, "panda_finger_joint2": 0.02})
    if key == "command":
        return command(stamp, robot, np.append(joint_values(stamp, count) + 0.01, 0.04))
    if key == "depth.near":
        return image(stamp, depth_map(number), "16UC1", padding=6)
    if key == "depth.far":
        metres = np.where(depth_map(number) == 0, np.nan, depth_map(number) / 1000)
        return image(stamp, metres.astype(">f4"), "32FC1", big_endian=True)
    return image(stamp, frame(number)) if key == "camera.front" else compressed(stamp, frame(number))


def record(
    root: Path,
    robot: Embodiment,
    stream: Iterator[tuple[str, int, bytes]],
    score: float = 1.0,
    task: str = "reach",
    note: str = "",
) -> Path:
    """Write an episode as the recorder does; messages arrive 1 ms after their stamps."""
    specs = {s.key: s for s in (*robot.streams(), robot.command_stream())}
    folder = BagsFolder(root)
    session = RecordingSession(folder, robot, min_free_bytes=0)
    topics = {s.topic: OfferedTopic(s.msgtype) for s in specs.values()}
    session.start(task, "reach the cube", "tester", topics, START_NS)
    for key, stamp_ns, raw in stream:
        session.write(specs[key].topic, stamp_ns + MS, raw)
    path = session.stop(score, note, "success")
    folder.close()
    return path
