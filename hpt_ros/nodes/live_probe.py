"""What a running graph looks like to somebody who listens for a few seconds: rates, stamps, who speaks and who hears."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions

from hpt_ros.control.robot_health import RobotHealth
from hpt_ros.embodiment import Embodiment, StreamSpec
from hpt_ros.errors import StreamError
from hpt_ros.nodes.backends.arm import command_type
from hpt_ros.nodes.messages import message_class
from hpt_ros.nodes.namespace import NamespacedNode
from hpt_ros.nodes.runtime import make_executor, owner_of
from hpt_ros.streams.cdr import header_stamp_ns

_DEPTH = 100
_DISCOVERY_S = 6.0
_ANSWER_S = 2.0


@dataclass(frozen=True)
class StreamFacts:
    """One topic as heard. `age_s` is receipt minus stamp, at the least and at the most; None: no message or no stamp.

    `disordered` counts stamps that are not newer than the one before.
    """

    spec: StreamSpec
    publishers: tuple[str, ...]
    types: tuple[str, ...]
    reliable: bool
    rate_hz: float
    age_s: tuple[float, float] | None
    unstamped: int
    disordered: int = 0


@dataclass(frozen=True)
class Listener:
    """Who subscribes to the commands: for messages of which type, and whether it asks for transient local durability."""

    name: str
    msgtype: str
    transient_local: bool = False


@dataclass(frozen=True)
class LiveFacts:
    """All that was heard. `controllers`: name -> state, None if nobody could be asked; `health`: of the robot itself."""

    streams: tuple[StreamFacts, ...]
    command_publishers: tuple[str, ...]
    command_subscribers: tuple[Listener, ...]
    command_type: str
    controllers: dict[str, str] | None
    health: RobotHealth | None


class _Ear:
    """Counts one stream."""

    def __init__(self) -> None:
        self.received = self.unstamped = self.disordered = 0
        self._stamp_ns = 0
        self.first_s = self.last_s = 0.0
        self.ages_s: list[float] = []
        self.newest: bytes = b""

    def hear(self, now_ns: Callable[[], int], raw: bytes) -> None:
        self.last_s = time.monotonic()
        self.first_s = self.first_s or self.last_s
        self.received += 1
        self.newest = raw
        try:
            stamp_ns = header_stamp_ns(raw)
        except StreamError:
            self.unstamped += 1
            return
        self.ages_s.append((now_ns() - stamp_ns) * 1e-9)
        self.disordered += stamp_ns <= self._stamp_ns
        self._stamp_ns = max(stamp_ns, self._stamp_ns)

    @property
    def rate_hz(self) -> float:
        span_s = self.last_s - self.first_s
        return (self.received - 1) / span_s if span_s > 0 else 0.0


def listen(embodiment: Embodiment, domain_id: int, seconds: float, namespace: str = "") -> LiveFacts:
    """Join the graph, listen to every stream of the embodiment for `seconds`, and leave."""
    rclpy.init(args=[], domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
    node = NamespacedNode("hpt_ros_doctor", namespace=namespace, start_parameter_services=False)
    executor, stop = make_executor(), threading.Event()
    executor.add_node(node)

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, name="doctor", daemon=True)
    thread.start()
    try:
        return _listen(node, embodiment, seconds)
    finally:
        stop.set()
        thread.join(timeout=2.0)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _listen(node: NamespacedNode, embodiment: Embodiment, seconds: float) -> LiveFacts:
    specs = list(embodiment.streams())
    if contract := embodiment.robot_state:
        specs.append(
            StreamSpec("robot_state", contract.topic, contract.msgtype, 0.0, round(contract.max_age_s * 1e9), 0)
        )
    _discover(node, [spec.topic for spec in specs])
    ears = {spec.key: _Ear() for spec in specs}
    for spec in specs:
        _subscribe(node, spec, ears[spec.key])
    controllers = _controller_client(node, embodiment)  # before the pause, in which its service discovers it too
    time.sleep(seconds)
    topic = embodiment.command.topic
    return LiveFacts(
        tuple(_facts(node, spec, ears[spec.key]) for spec in specs),
        _names(node.get_publishers_info_by_topic(topic)),
        _listeners(node.get_subscriptions_info_by_topic(topic)),
        command_type(embodiment),
        _controllers(controllers),
        _health(embodiment, ears),
    )


def _discover(node: NamespacedNode, topics: list[str]) -> None:
    """Until every topic has a publisher, and for so long at most: a busy machine needs seconds to find them all."""
    end_s = time.monotonic() + _DISCOVERY_S
    while time.monotonic() < end_s and not all(node.get_publishers_info_by_topic(topic) for topic in topics):
        time.sleep(0.1)


def _subscribe(node: NamespacedNode, spec: StreamSpec, ear: _Ear) -> None:
    """As the publishers offer it; best effort hears them all."""
    infos = node.get_publishers_info_by_topic(spec.topic)
    if not infos or spec.msgtype not in {info.topic_type for info in infos}:
        return
    reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in infos)
    qos = QoSProfile(
        depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    )
    now_ns = partial(_now_ns, node)
    node.create_subscription(message_class(spec.msgtype), spec.topic, partial(ear.hear, now_ns), qos, raw=True)


def _now_ns(node: NamespacedNode) -> int:
    return int(node.get_clock().now().nanoseconds)


def _facts(node: NamespacedNode, spec: StreamSpec, ear: _Ear) -> StreamFacts:
    infos = node.get_publishers_info_by_topic(spec.topic)
    return StreamFacts(
        spec,
        _names(infos),
        tuple(sorted({info.topic_type for info in infos})),
        all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in infos),
        ear.rate_hz,
        (min(ear.ages_s), max(ear.ages_s)) if ear.ages_s else None,
        ear.unstamped,
        ear.disordered,
    )


def _names(infos: Any) -> tuple[str, ...]:
    return tuple(sorted(owner_of(info) for info in infos))


def _listeners(infos: Any) -> tuple[Listener, ...]:
    return tuple(
        Listener(owner_of(info), info.topic_type, info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL)
        for info in infos
    )


def _controller_client(node: NamespacedNode, embodiment: Embodiment) -> Any:
    if not embodiment.recovery:
        return None
    try:
        kind = import_module("controller_manager_msgs.srv").ListControllers
    except ImportError:
        return None
    return node.create_client(kind, f"{embodiment.recovery.controller_manager}/list_controllers")


def _controllers(client: Any) -> dict[str, str] | None:
    if client is None or not client.wait_for_service(_ANSWER_S):
        return None
    future, answered = client.call_async(client.srv_type.Request()), threading.Event()
    future.add_done_callback(lambda _: answered.set())
    if not answered.wait(_ANSWER_S):
        return None
    return {controller.name: controller.state for controller in future.result().controller}


def _health(embodiment: Embodiment, ears: dict[str, _Ear]) -> RobotHealth | None:
    contract = embodiment.robot_state
    if not contract or not ears["robot_state"].newest:
        return None
    return RobotHealth.of(deserialize_message(ears["robot_state"].newest, message_class(contract.msgtype)))
