"""Between the robot's topics and ours: forwards every stream of an embodiment, unharmed or with a fault.

`fault_relay.py EMBODIMENT` reads `/source/TOPIC` and publishes `TOPIC`. One JSON line on standard input for each switch,
`{"stream": "camera.front", "fault": "delayed", "seconds": 0.5}`; the answer is the stamp of the last message of it that
was forwarded unharmed, and how late the messages of all streams came here since the switch before.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from hpt_ros.embodiment import Embodiment, StreamSpec, load_embodiment
from hpt_ros.embodiment.schema import JOINT_STATE
from hpt_ros.streams.cdr import decode, header_stamp_ns, typestore, with_stamp

SOURCE = "/source"
STATE_PERIOD_S = 0.02


class Channel:
    """One stream. `send` publishes bytes, `spoil` makes nonsense of them. Every frame of a camera gets another last byte:
    real ones have noise.
    """

    def __init__(self, send: Callable[[bytes], None], spec: StreamSpec, spoil: Callable[[bytes], bytes]) -> None:
        self._send, self._spoil, self._noisy = send, spoil, spec.key.startswith("camera.")
        self._period_s = 1 / spec.rate_hz
        self._came_s = 0.0
        self.late_s = 0.0
        self._lock = threading.Lock()
        self._count = 0
        self._good = b""
        self._queue: deque[tuple[float, bytes]] = deque()
        self._sent_s = 0.0
        self._fault, self._seconds = "none", 0.0

    def worst_late_s(self, now_s: float) -> float:
        """How late a message came since the last time this was asked, or is as it has not come yet."""
        worst_s, self.late_s = self.late_s, 0.0
        return max(worst_s, now_s - self._came_s - self._period_s) if self._came_s else worst_s

    def switch(self, fault: str, seconds: float) -> int:
        """Begin a fault ("none" ends it); the stamp [ns] of the last message that went through unharmed, 0 for none."""
        if not hasattr(self, f"_{fault}"):
            raise ValueError(fault)
        with self._lock:
            self._fault, self._seconds = fault, seconds
            self._queue.clear()
            return header_stamp_ns(self._good) if self._good else 0

    def take(self, raw: bytes) -> None:
        """A message of the source."""
        now_s = time.time()
        gap_s = now_s - self._came_s - self._period_s if self._came_s else 0.0
        self._came_s, self.late_s = now_s, max(self.late_s, gap_s, now_s - header_stamp_ns(raw) * 1e-9)
        with self._lock:
            if self._noisy:
                self._count += 1
                raw = raw[:-1] + bytes([self._count % 256])
            getattr(self, f"_{self._fault}")(raw)

    def _none(self, raw: bytes) -> None:
        self._good, self._sent_s = raw, time.monotonic()
        self._send(raw)

    def _silent(self, raw: bytes) -> None:
        pass

    def _frozen(self, raw: bytes) -> None:
        """The driver hangs and sends its last message again and again."""
        self._send(self._good)

    def _frozen_payload(self, raw: bytes) -> None:
        """The sensor hangs and the driver stamps its last data anew."""
        self._send(with_stamp(self._good, header_stamp_ns(raw)))

    def _slow(self, raw: bytes) -> None:
        if time.monotonic() - self._sent_s >= self._seconds:
            self._sent_s = time.monotonic()
            self._send(raw)

    def _delayed(self, raw: bytes) -> None:
        self._queue.append((time.monotonic() + self._seconds, raw))
        while self._queue and self._queue[0][0] <= time.monotonic():
            self._send(self._queue.popleft()[1])

    def _reordered(self, raw: bytes) -> None:
        """Every two messages the second comes first."""
        self._queue.append((0.0, raw))
        if len(self._queue) == 2:
            for _, earlier in reversed(self._queue):
                self._send(earlier)
            self._queue.clear()

    def _nan(self, raw: bytes) -> None:
        self._send(self._spoil(raw))

    def _shifted(self, raw: bytes) -> None:
        """The publisher's clock is ahead by `seconds`, or behind."""
        self._send(with_stamp(raw, header_stamp_ns(raw) + round(self._seconds * 1e9)))


def _without_a_number(raw: bytes) -> bytes:
    """The first joint is not a number."""
    message = decode(raw, JOINT_STATE)
    message.position = message.position.copy()
    message.position[0] = float("nan")
    return bytes(typestore().serialize_cdr(message, JOINT_STATE))


def _cut_short(raw: bytes) -> bytes:
    """The image ends before its last row."""
    return raw[: len(raw) // 2]


def _robot_state(node: Any, robot: Embodiment) -> Channel:
    """What the simulated Panda does not send: the robot's report that all is well."""
    from rclpy.serialization import deserialize_message, serialize_message

    from hpt_ros.nodes.messages import message_class
    from hpt_ros.nodes.runtime import RELIABLE_10

    contract = robot.robot_state
    assert contract is not None
    kind = message_class(contract.msgtype)
    message = kind(robot_mode=2, control_command_success_rate=1.0)
    publisher = node.create_publisher(kind, contract.topic, RELIABLE_10)

    def spoil(raw: bytes) -> bytes:
        bad = deserialize_message(raw, kind)
        bad.control_command_success_rate = float("nan")
        return bytes(serialize_message(bad))

    spec = StreamSpec("robot_state", contract.topic, contract.msgtype, 1 / STATE_PERIOD_S, 0, 0)
    channel = Channel(publisher.publish, spec, spoil)

    def report() -> None:
        message.header.stamp = node.get_clock().now().to_msg()
        channel.take(serialize_message(message))

    node.create_timer(STATE_PERIOD_S, report)
    return channel


def _obey(channels: dict[str, Channel]) -> None:
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        stamp_ns = channels[order["stream"]].switch(order["fault"], order["seconds"])
        late_s = max(channel.worst_late_s(time.time()) for channel in channels.values())
        sys.stdout.write(json.dumps({"stamp_ns": stamp_ns, "late_s": late_s}) + "\n")
        sys.stdout.flush()


def main() -> None:
    import rclpy

    from hpt_ros.nodes.messages import message_class
    from hpt_ros.nodes.runtime import RELIABLE_10, make_executor

    robot = load_embodiment(sys.argv[1])
    rclpy.init(args=[])
    node = rclpy.create_node("fault_relay")
    channels = {}
    for spec in robot.streams():
        kind = message_class(spec.msgtype)
        publisher = node.create_publisher(kind, spec.topic, RELIABLE_10)
        spoil = _without_a_number if spec.msgtype == JOINT_STATE else _cut_short
        channel = channels[spec.key] = Channel(publisher.publish, spec, spoil)
        node.create_subscription(kind, SOURCE + spec.topic, channel.take, RELIABLE_10, raw=True)
    if robot.robot_state:
        channels["robot_state"] = _robot_state(node, robot)
    threading.Thread(target=partial(_obey, channels), daemon=True).start()
    executor = make_executor()
    executor.add_node(node)
    while rclpy.ok():
        executor.spin_once(timeout_sec=0.2)


if __name__ == "__main__":
    main()
