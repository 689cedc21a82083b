"""What every node shares: the executor, clean ends, quality of service."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from hpt_ros.errors import ConfigError, HptRosError
from hpt_ros.nodes.namespace import NamespacedNode

RELIABLE_1 = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
RELIABLE_10 = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_SPIN_S = 0.2  # EventsExecutor without a finite time-out spins for ever in the wheels (glibc 2.28 builds)

_UNKNOWN_NAME = "_NODE_NAME_UNKNOWN_"  # rmw: an endpoint is known before the node that owns it


class HptNode(NamespacedNode):
    """A node with threads or files to end; `close` is called once, and only if the constructor came to its end."""

    def close(self) -> None:
        """End what the node has started."""


def make_executor() -> Any:
    """EventsExecutor where it exists (Jazzy on), else SingleThreadedExecutor; never multi-threaded: it starves fast topics."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        from rclpy.executors import SingleThreadedExecutor

        return SingleThreadedExecutor()
    return EventsExecutor()


def run_node(factory: Callable[[], HptNode], argv: list[str] | None = None) -> int:
    """Build the node, spin it until SIGINT or SIGTERM, tear it down; a refusal is one message and a non-zero code."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    node: HptNode | None = None
    try:
        node = factory()
        executor = make_executor()
        executor.add_node(node)
        while not stop.is_set() and rclpy.ok():
            executor.spin_once(timeout_sec=_SPIN_S)
    except HptRosError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except ParameterException as error:
        sys.stderr.write(f"error: {error}\n")
        return ConfigError.exit_code
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def owner_of(endpoint: Any) -> str:
    """Node of a publisher or subscription, as the graph tells it."""
    if endpoint.node_name == _UNKNOWN_NAME:
        return "a node that has not told its name yet"
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def matching_qos(node: Node, topic: str, depth: int) -> QoSProfile | None:
    """RELIABLE when every publisher of the topic is, else BEST_EFFORT; None while nobody publishes.

    A best-effort reader loses fragments of large images; a reliable one never connects to a best-effort writer.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return None
    reliable = all(p.qos_profile.reliability == ReliabilityPolicy.RELIABLE for p in publishers)
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    )


class LateSubscriptions:
    """Raw subscriptions that are made once their topic has a publisher, with the quality of service that it offers."""

    def __init__(self, node: Node, period_s: float = 0.1) -> None:
        self._node = node
        self._waiting: list[tuple[str, Any, Callable[[bytes], None], int]] = []
        self._timer = node.create_timer(period_s, self._poll)

    def add(self, topic: str, message_class: Any, callback: Callable[[bytes], None], depth: int) -> None:
        """`callback` gets the serialized message."""
        self._waiting.append((topic, message_class, callback, depth))
        self._poll()

    @property
    def waiting(self) -> list[str]:
        """Topics that nobody publishes yet."""
        return [topic for topic, *_ in self._waiting]

    def _poll(self) -> None:
        still_waiting = []
        for topic, message_class, callback, depth in self._waiting:
            qos = matching_qos(self._node, topic, depth)
            if qos is None:
                still_waiting.append((topic, message_class, callback, depth))
            else:
                self._node.create_subscription(message_class, topic, callback, qos, raw=True)
        self._waiting = still_waiting
