"""One episode as an MCAP file of ROS 2 messages, for Foxglove and every other reader of MCAP."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import Writer
from numpy.typing import NDArray

from hpt_ros import __version__
from hpt_ros.demos.demos import Demos, Episode
from hpt_ros.embodiment.schema import COMPRESSED_IMAGE, IMAGE, JOINT_STATE
from hpt_ros.errors import BusyError, DataError
from hpt_ros.streams.cdr import NS_PER_S, typestore
from hpt_ros.streams.image_files import jpeg_file

STATE_TOPIC = "/demo/state"
COMMAND_TOPIC = "/demo/command"
INSTRUCTION_TOPIC = "/demo/instruction"
_TEXT = "std_msgs/msg/String"
_JPEG_QUALITY = 90


def image_topic(camera: str) -> str:
    """Where the frames of a camera are."""
    return f"/demo/{camera}/compressed"


def depth_topic(camera: str) -> str:
    """Where the maps of a depth camera are."""
    return f"/demo/{camera}/depth"


@dataclass(frozen=True)
class Message:
    """A ROS 2 message that is not serialized yet."""

    topic: str
    msgtype: str
    stamp_ns: int
    value: Any


def episode_at(demos: Demos, number: int) -> Episode:
    """The episode of that number, from 0.

    Raises:
        DataError: there is none.
    """
    if not 0 <= number < len(demos.episodes):
        raise DataError(f"no episode {number} in {demos.path}", f"choose one from 0 to {len(demos.episodes) - 1}")
    return demos.episodes[number]


def jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """A frame (H, W, 3) as a JPEG file, for the eye."""
    return jpeg_file(rgb, _JPEG_QUALITY).tobytes()


def messages(demos: Demos, number: int) -> Iterator[Message]:
    """What the policy would see and the commands in force, tick by tick, stamped with the tick.

    State and commands are JointState, the gripper's width [m] being the last joint; depth is 16UC1 [mm].

    Raises:
        DataError: there is no episode of that number.
    """
    episode = episode_at(demos, number)
    robot, types = demos.embodiment, typestore().types
    text = types[_TEXT](data=episode.instruction or episode.task)
    yield Message(INSTRUCTION_TOPIC, _TEXT, int(demos.tick_ns[episode.start]), text)
    for i in range(episode.start, episode.stop):
        tick_ns = int(demos.tick_ns[i])
        yield _joints(STATE_TOPIC, tick_ns, robot.state_names, demos.state[i])
        yield _joints(COMMAND_TOPIC, tick_ns, robot.command_names, demos.command[i])
        for name, frames in demos.images.items():
            data = np.frombuffer(jpeg(frames[i]), np.uint8)
            value = types[COMPRESSED_IMAGE](header=_header(tick_ns, name), format="jpeg", data=data)
            yield Message(image_topic(name), COMPRESSED_IMAGE, tick_ns, value)
        for name, maps in demos.depth.items():
            yield Message(depth_topic(name), IMAGE, tick_ns, _depth_image(tick_ns, name, maps[i]))


def write_mcap(demos: Demos, number: int, path: Path, overwrite: bool = False) -> int:
    """Write one episode to `path`; returns the number of messages. The file appears when it is complete.

    Raises:
        BusyError: `path` exists and `overwrite` is not set.
        DataError: there is no episode of that number.
    """
    if path.exists() and not overwrite:
        raise BusyError(f"{path} exists", "choose another name, or pass --overwrite")
    episode_at(demos, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            count = _write(Writer(file), demos, number)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
    return count


def _write(writer: Any, demos: Demos, number: int) -> int:
    writer.start(profile="ros2", library=f"hpt_ros {__version__}")
    channels: dict[str, int] = {}
    schemas: dict[str, int] = {}
    count = 0
    for count, message in enumerate(messages(demos, number), start=1):
        kind = message.msgtype
        if kind not in schemas:
            definition = typestore().generate_msgdef(kind, ros_version=2)[0]
            schemas[kind] = writer.register_schema(kind, "ros2msg", definition.encode())
        if message.topic not in channels:
            channels[message.topic] = writer.register_channel(message.topic, "cdr", schemas[kind])
        raw = bytes(typestore().serialize_cdr(message.value, kind))
        writer.add_message(channels[message.topic], message.stamp_ns, raw, message.stamp_ns, count)
    writer.finish()
    return count


def _joints(topic: str, tick_ns: int, names: Sequence[str], values: NDArray[np.float32]) -> Message:
    empty = np.array([], dtype=np.float64)
    value = typestore().types[JOINT_STATE](
        header=_header(tick_ns, ""), name=list(names), position=values.astype(np.float64), velocity=empty, effort=empty
    )
    return Message(topic, JOINT_STATE, tick_ns, value)


def _depth_image(tick_ns: int, name: str, millimetres: NDArray[np.uint16]) -> Any:
    height, width = millimetres.shape
    return typestore().types[IMAGE](
        header=_header(tick_ns, name),
        height=height,
        width=width,
        encoding="16UC1",
        is_bigendian=0,
        step=2 * width,
        data=np.ascontiguousarray(millimetres.astype("<u2")).view(np.uint8).reshape(-1),
    )


def _header(tick_ns: int, frame_id: str) -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](sec=tick_ns // NS_PER_S, nanosec=tick_ns % NS_PER_S)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)
