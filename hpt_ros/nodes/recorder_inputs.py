"""Everything the recorder listens to: raw subscriptions that are emptied in batches, not one callback per message."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from hpt_ros.errors import MissingDependencyError
from hpt_ros.nodes.messages import message_class
from hpt_ros.recording.checks import TopicView
from hpt_ros.recording.monitor import StreamContract, StreamMonitor
from hpt_ros.recording.qos import Request, mismatches, request_for


class Arrival(NamedTuple):
    """A message: when it was received and sent [ns], by whom and as which one (0: not told), its bytes."""

    receive_ns: int
    publish_ns: int
    sequence: int
    publisher: bytes
    raw: bytes
    topic: Input


class Input:
    """One topic: how it is subscribed to, and what watches it.

    `awaited`: an episode may begin without a message of it, and silence counts from the first message of the episode on.
    """

    def __init__(
        self, name: str, msgtype: str, contract: StreamContract, depth: int, required: bool, awaited: bool
    ) -> None:
        self.name = name
        self.msgtype = msgtype
        self.required = required
        self.awaited = awaited
        self.depth = depth
        self.monitor = StreamMonitor(name, contract)
        self.refusal = ""
        self._node: Node | None = None
        self._subscription: Any = None
        self._request: Request | None = None
        self._last_ns = 0

    @property
    def connected(self) -> bool:
        """Whether there is a subscription."""
        return self._subscription is not None

    def offers(self, node: Node) -> tuple[Qos, ...]:
        """Quality of service of every publisher."""
        return tuple(_offered_qos(p.qos_profile) for p in node.get_publishers_info_by_topic(self.name))

    def connect(self, node: Node) -> bool:
        """Subscribe with what every publisher serves, anew when a publisher came that cannot serve the old request.

        Returns whether the subscription was replaced.
        """
        offers = self.offers(node)
        if not offers or (self._request is not None and not mismatches(self._request, offers)):
            return False
        replaced = self.connected
        self._disconnect(node)
        request = request_for(offers)
        profile = QoSProfile(
            depth=self.depth,
            reliability=ReliabilityPolicy.RELIABLE if request.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if request.transient_local else DurabilityPolicy.VOLATILE,
        )
        try:
            kind = message_class(self.msgtype)
        except MissingDependencyError as error:
            self.refusal = str(error)
            return False
        self._subscription = node.create_subscription(kind, self.name, _unused, profile, raw=True)
        self._request = request
        return replaced

    def renew_latched(self, node: Node) -> None:
        """Subscribe anew where messages are latched: the publisher sends them again, into the episode that has begun."""
        if self._request is not None and self._request.transient_local:
            self._disconnect(node)
            self.connect(node)

    def _disconnect(self, node: Node) -> None:
        if self._subscription is not None:
            node.destroy_subscription(self._subscription)
        self._subscription = self._request = None

    def take(self, batch: list[Arrival], clock_ns: Callable[[], int] | None, now_ns: int) -> None:
        """Add what has come since the last time; `clock_ns` gives the receive time where the middleware's must not count."""
        if self._subscription is None:
            return
        handle, kind = self._subscription.handle, self._subscription.msg_type
        with handle:
            while (taken := handle.take_message(kind, True)) is not None:
                raw, info = taken
                receive_ns = self._in_order(clock_ns() if clock_ns else info["received_timestamp"] or now_ns, clock_ns)
                batch.append(
                    Arrival(
                        receive_ns,
                        receive_ns if clock_ns else info["source_timestamp"] or receive_ns,
                        info.get("publication_sequence_number") or 0,
                        (info.get("publisher_gid") or _NOBODY)["data"],
                        raw,
                        self,
                    )
                )

    def _in_order(self, receive_ns: int, clock_ns: Callable[[], int] | None) -> int:
        """A message that overtook a lost one waits until that was sent again: it was there no earlier than its forerunner.

        The forerunner may be seconds late (DDS repairs with its heartbeat); only after the clock was set back is it in
        the future.
        """
        if receive_ns < self._last_ns <= (clock_ns or time.time_ns)():
            return self._last_ns
        self._last_ns = receive_ns
        return receive_ns

    def view(self, node: Node, now_ns: int, max_silence_s: float) -> TopicView:
        """What speaks for and against a start."""
        publishers = node.get_publishers_info_by_topic(self.name)
        monitor = self.monitor
        slow_hz = monitor.rate_hz() if monitor.is_slow() and not self.awaited else None
        return TopicView(
            name=self.name,
            msgtype=self.msgtype,
            required=self.required,
            publishers=tuple((p.topic_type, _type_hash(p)) for p in publishers),
            silent_s=None if monitor.last_ns is None else (now_ns - monitor.last_ns) / 1e9,
            max_silence_s=max_silence_s if self.required and not self.awaited else None,
            refusal=self.refusal,
            slow_hz=slow_hz,
            expected_hz=monitor.contract.rate_hz,
        )


_NOBODY = {"data": b""}


def _unused(_: bytes) -> None:
    """No executor has the node of the inputs."""


def _type_hash(publisher: Any) -> str:
    """RIHS01 text of the publisher's type; "" before Iron and where it is unknown."""
    type_hash = getattr(publisher, "topic_type_hash", None)
    return str(type_hash) if type_hash is not None and type_hash.version == 1 else ""


def _offered_qos(profile: Any) -> Qos:
    return Qos(
        history=QosHistory(profile.history.value),
        depth=profile.depth,
        reliability=QosReliability(profile.reliability.value),
        durability=QosDurability(profile.durability.value),
        deadline=_qos_time(profile.deadline),
        lifespan=_qos_time(profile.lifespan),
        liveliness=QosLiveliness(profile.liveliness.value),
        liveliness_lease_duration=_qos_time(profile.liveliness_lease_duration),
        avoid_ros_namespace_conventions=profile.avoid_ros_namespace_conventions,
    )


def _qos_time(duration: Duration) -> QosTime:
    return QosTime(*divmod(duration.nanoseconds, 10**9))
