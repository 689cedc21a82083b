"""Sends a demonstration to the commander like any other device, and keeps what was commanded and measured."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from hpt_ros.embodiment import Embodiment
from hpt_ros.evaluation.replay_motion import Array, ReplayMotion, Track
from hpt_ros.msg import Command
from hpt_ros.nodes.chunk_publisher import ChunkPublisher
from hpt_ros.streams import header_stamp_ns
from hpt_ros.streams.decode import command_positions, joint_positions

SOURCE = "teleop:replay"
_EVERY = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches every version's publishers


class Replayer:
    """Wiring on a client's node: joint states and commands are kept, chunks of a motion are published once it has begun.

    The node's executor calls back in its own thread; `begin` and the reports are for the caller's.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._node, self._embodiment = node, embodiment
        self._lock = threading.Lock()
        self._heard: dict[str, list[bytes]] = {"measured": [], "commanded": []}
        self._motion: ReplayMotion | None = None
        self._start_ns = 0
        keep = {"raw": True}
        node.create_subscription(JointState, embodiment.joints.topic, partial(self._keep, "measured"), _EVERY, **keep)
        topic = embodiment.command.record_topic
        node.create_subscription(Command, topic, partial(self._keep, "commanded"), _EVERY, **keep)
        self._chunks = ChunkPublisher(node, embodiment, SOURCE)
        self._timer = node.create_timer(1 / embodiment.policy.rate_hz, self._tick)

    @property
    def joints(self) -> Array | None:
        """Measured (J,) [rad], None until something was."""
        with self._lock:
            newest = self._heard["measured"][-1:]
        return joint_positions(newest[0], self._embodiment.joints.names) if newest else None

    def begin(self, rows: Array, start: Array) -> ReplayMotion:
        """Publish from now on; returns the motion, whose times count from now."""
        motion = ReplayMotion(rows, start, self._embodiment.policy.period_ns * 1e-9)
        with self._lock:
            self._heard = {"measured": [], "commanded": []}
            self._start_ns = self._now_ns()
            self._motion = motion
        return motion

    def end(self) -> None:
        """Publish no more."""
        with self._lock:
            self._motion = None

    @property
    def elapsed_s(self) -> float:
        """Since `begin`, by the node's clock."""
        return (self._now_ns() - self._start_ns) * 1e-9

    def span_ns(self, motion: ReplayMotion) -> tuple[int, int]:
        """Stamps between which the demonstration itself is replayed."""
        return self._start_ns + round(motion.begins_s * 1e9), self._start_ns + round(motion.ends_s * 1e9)

    def tracks(self) -> tuple[Track, Track]:
        """(commanded, measured) since `begin`."""
        with self._lock:
            heard = {kind: list(found) for kind, found in self._heard.items()}
        joints = self._embodiment.joints.names
        return (
            _track([(header_stamp_ns(raw), command_positions(raw, joints)) for raw in heard["commanded"]]),
            _track([(header_stamp_ns(raw), joint_positions(raw, joints)) for raw in heard["measured"]]),
        )

    def _keep(self, kind: str, raw: bytes) -> None:
        with self._lock:
            found = self._heard[kind]
            if self._motion is None:
                found.clear()
            found.append(raw)

    def _tick(self) -> None:
        policy, tick = self._embodiment.policy, self._node.get_clock().now()
        with self._lock:
            motion, since_s = self._motion, (tick.nanoseconds - self._start_ns) * 1e-9
        if motion is None:
            return
        self._chunks.publish(motion.chunk(since_s, policy.action_horizon), tick)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _track(samples: list[tuple[int, Array]]) -> Track:
    """In the order of the stamps, one sample for each."""
    by_stamp = dict(sorted(samples, key=lambda sample: sample[0]))
    return Track(np.array(list(by_stamp), np.int64), np.array(list(by_stamp.values())))
