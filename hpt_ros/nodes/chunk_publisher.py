"""Rows of targets -> /hpt_ros/action_chunk."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from hpt_ros.control.chunk import expected_names
from hpt_ros.embodiment import Embodiment, fingerprint
from hpt_ros.msg import ActionChunk
from hpt_ros.nodes.runtime import RELIABLE_10


class ChunkPublisher:
    """Publishes chunks of one source ("policy" or "teleop:<device>") for one embodiment, and numbers them."""

    def __init__(self, node: Node, embodiment: Embodiment, source: str) -> None:
        self._clock = node.get_clock()
        self._names = list(expected_names(embodiment, source))
        self._period_s = embodiment.policy.period_ns * 1e-9
        self._fingerprint, self._source, self._sequence = fingerprint(embodiment), source, 0
        self._publisher = node.create_publisher(ActionChunk, "/hpt_ros/action_chunk", RELIABLE_10)

    def publish(self, rows: NDArray[np.float64], tick: Any) -> None:
        """Rows (R, P), columns as `expected_names`; row i is due i + 1 periods after `tick`, a time of the node's clock."""
        message = ActionChunk(
            observation_stamp=tick.to_msg(),
            sequence=self._sequence,
            source=self._source,
            fingerprint=self._fingerprint,
            period_s=self._period_s,
            names=self._names,
            rows=array("d", np.asarray(rows, np.float64).tobytes()),
        )
        now = self._clock.now()
        message.header.stamp = now.to_msg()
        message.latency_s = (now.nanoseconds - tick.nanoseconds) * 1e-9
        self._sequence += 1
        self._publisher.publish(message)
