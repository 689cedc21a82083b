"""The newest message of a topic, taken when it is wanted: at 1 kHz a callback for each costs more than what is done with one."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches every version's publishers


class Newest:
    """One topic.

    Args:
        node: of no executor, which would take the messages away.
    """

    def __init__(self, node: Node, kind: Any, topic: str) -> None:
        self._kind = kind
        self._subscription = node.create_subscription(kind, topic, _unused, NEWEST)

    def take(self) -> Any | None:
        """The newest message that came since the last time; None if none did. Does not block; for any one thread."""
        newest, handle = None, self._subscription.handle
        with handle:
            while (taken := handle.take_message(self._kind, False)) is not None:
                newest = taken[0]
        return newest


def _unused(_: Any) -> None:
    """The node has no executor."""
