"""The load of `hpt-ros bench record`: a process that publishes numbered messages at the rates of a real set-up.

`python -m hpt_ros.benchmarks.record_load robot|cameras` publishes until SIGTERM, then prints how many of each topic.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, load_embodiment
from hpt_ros.streams.cdr import typestore

CAMERA_PX = (480, 640)
CHUNK_TOPIC = "/hpt_ros/action_chunk"
_DIGITS = 10
_STAMP_AT, _NUMBER_AT = 4, 16  # encapsulation; stamp, length of the frame_id, frame_id
_FRAMES = 8
_STAMP = struct.Struct("<iI")


def embodiment() -> Embodiment:
    """sim_panda's topics, taken for a real robot's: its cameras never repeat a frame, and the recorder compares."""
    return embodiment_from(embodiment_to(load_embodiment("sim_panda")) | {"name": "bench", "simulated": False})


def number_of(raw: bytes) -> int:
    """The number of a message of this load."""
    return int(raw[_NUMBER_AT : _NUMBER_AT + _DIGITS])


@dataclass
class _Source:
    """One topic: serialized messages that are sent in turn with a new stamp and number."""

    topic: str
    msgtype: str
    rate_hz: float
    depth: int
    messages: list[bytearray]
    count: int = 0
    due_s: float = 0.0

    def next(self) -> bytes:
        message = self.messages[self.count % len(self.messages)]
        _STAMP.pack_into(message, _STAMP_AT, *divmod(time.time_ns(), 10**9))
        message[_NUMBER_AT : _NUMBER_AT + _DIGITS] = b"%0*d" % (_DIGITS, self.count)
        self.count += 1
        self.due_s += 1 / self.rate_hz
        return bytes(message)


def sources(kind: str) -> list[_Source]:
    """1 kHz joint states, 50 Hz gripper, 100 Hz commands and 15 Hz chunks of 16 rows; or two raw 640 x 480 cameras at 30 Hz."""
    robot = embodiment()
    if kind == "cameras":
        return [_camera(camera.topic, camera.timing.rate_hz, i) for i, camera in enumerate(robot.cameras)]
    joints, action = robot.joints, robot.command_names
    zeros = np.zeros(len(joints.names))
    state = {"position": zeros, "velocity": zeros, "effort": zeros}
    made = [
        _source(joints.topic, "sensor_msgs/msg/JointState", joints.timing.rate_hz, name=list(joints.names), **state)
    ]
    if gripper := robot.gripper:
        fingers = dict.fromkeys(state, np.zeros(2))
        made.append(
            _source(
                gripper.topic, "sensor_msgs/msg/JointState", gripper.timing.rate_hz, name=list(gripper.names), **fingers
            )
        )
    target = {"names": list(action), "position": np.zeros(len(action)), "velocity": np.zeros(len(action))}
    made.append(
        _source(
            robot.command.record_topic,
            "hpt_ros/msg/Command",
            robot.command.rate_hz,
            source="bench",
            intervention=False,
            **target,
        )
    )
    rows = {"names": list(action), "rows": np.zeros(robot.policy.action_horizon * len(action)), "period_s": 1 / 15}
    facts = {"sequence": 0, "source": "bench", "fingerprint": "0" * 16, "latency_s": 0.0, "observation_stamp": _time()}
    facts |= {"inference_s": 0.0, "capture_age_s": 0.0}
    made.append(_source(CHUNK_TOPIC, "hpt_ros/msg/ActionChunk", robot.policy.rate_hz, **rows, **facts))
    return made


def _camera(topic: str, rate_hz: float, seed: int) -> _Source:
    height, width = CAMERA_PX
    noise = np.random.default_rng(seed)
    source = _Source(topic, "sensor_msgs/msg/Image", rate_hz, 10, [])
    for _ in range(_FRAMES):
        data = noise.integers(0, 256, height * width * 3, dtype=np.uint8)
        facts = {"height": height, "width": width, "encoding": "rgb8", "is_bigendian": 0, "step": width * 3}
        source.messages.append(_serialize(source.msgtype, data=data, **facts))
    return source


def _source(topic: str, msgtype: str, rate_hz: float, **fields: Any) -> _Source:
    return _Source(topic, msgtype, rate_hz, 100, [_serialize(msgtype, **fields)])


def _serialize(msgtype: str, **fields: Any) -> bytearray:
    header = typestore().types["std_msgs/msg/Header"](stamp=_time(), frame_id="0" * _DIGITS)
    message = typestore().types[msgtype](header=header, **fields)
    return bytearray(typestore().serialize_cdr(message, msgtype))


def _time() -> Any:
    return typestore().types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)


def main() -> int:
    """Publish until SIGTERM."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from hpt_ros.nodes.messages import message_class

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    kind = sys.argv[1]
    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node(f"bench_{kind}")
    load = sources(kind)
    publishers = [
        node.create_publisher(
            message_class(s.msgtype), s.topic, QoSProfile(depth=s.depth, reliability=ReliabilityPolicy.RELIABLE)
        )
        for s in load
    ]
    start_s = time.monotonic()
    for source in load:
        source.due_s = start_s
    while not stop.is_set():
        now_s = time.monotonic()
        for source, publisher in zip(load, publishers, strict=True):
            while source.due_s <= now_s:
                publisher.publish(source.next())
        time.sleep(max(0.0, min(s.due_s for s in load) - time.monotonic()))
    sys.stdout.write(json.dumps({source.topic: source.count for source in load}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()  # stay, so that what is on its way can be repaired, until our standard input closes
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
