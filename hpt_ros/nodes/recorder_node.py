"""The recorder: serialized messages of every topic of the embodiment, one bag per episode."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from std_srvs.srv import Trigger

from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import HptRosError
from hpt_ros.msg import EpisodeStatus
from hpt_ros.nodes.messages import message_class
from hpt_ros.nodes.runtime import RELIABLE_10, HptNode, LateSubscriptions, run_node
from hpt_ros.recording.checks import TopicView, reasons_against_start
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.session import OfferedTopic, RecordingSession
from hpt_ros.srv import StartEpisode, StopEpisode

_STATUS_PERIOD_S = 0.5
_RATE_WINDOW = 5  # status periods
_MAX_SILENCE_S = 1.0  # before a start; a slow machine pauses longer than the age budget of a stream now and then
_OPTIONAL = {
    "/hpt_ros/action_chunk": "hpt_ros/msg/ActionChunk",
    "/hpt_ros/commander/status": "hpt_ros/msg/CommanderStatus",
}
_CAMERA_DEPTH = 30
_MIN_DEPTH = 100  # a slow machine pauses for a tenth of a second now and then


@dataclass
class _Topic:
    """A recorded topic and what has been received of it."""

    name: str
    msgtype: str
    required: bool
    max_silence_s: float | None
    depth: int
    received: int = 0
    last_s: float | None = None
    _past: deque[tuple[float, int]] = field(default_factory=lambda: deque([(time.monotonic(), 0)], _RATE_WINDOW))

    def close_period(self) -> None:
        """End a status period: the rate is that of the last few."""
        self._past.append((time.monotonic(), self.received))

    def rate_hz(self) -> float:
        """Messages per second over the last status periods."""
        (since, before), (until, now) = self._past[0], self._past[-1]
        return (now - before) / (until - since) if until > since else 0.0


class RecorderNode(HptNode):
    """Parameters and wiring: raw subscriptions -> RecordingSession; services start, stop, discard; status at 2 Hz.

    Parameters: embodiment (preset or file), bags_dir, min_free_bytes, extra_topics (names, required when given).
    """

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self._embodiment = load_embodiment(self.declare_parameter("embodiment", "sim_panda").value)
        folder = BagsFolder(Path(self.declare_parameter("bags_dir", "bags").value))
        for path in folder.quarantine_leftovers():
            self.get_logger().warning(f"an interrupted recording was moved to {path}")
        min_free_bytes = self.declare_parameter("min_free_bytes", 1_000_000_000).value
        self._session = RecordingSession(folder, self._embodiment, min_free_bytes)
        self._folder = folder
        self._extra = [name for name in self.declare_parameter("extra_topics", [""]).value if name]
        self._topics: dict[str, _Topic] = {}
        self._inputs = LateSubscriptions(self)
        self._add_contract_topics()
        self._status_publisher = self.create_publisher(EpisodeStatus, "/hpt_ros/recorder/status", RELIABLE_10)
        self.create_service(StartEpisode, "/hpt_ros/recorder/start", self._on_start)
        self.create_service(StopEpisode, "/hpt_ros/recorder/stop", self._on_stop)
        self.create_service(Trigger, "/hpt_ros/recorder/discard", self._on_discard)
        self.create_timer(_STATUS_PERIOD_S, self._on_timer)

    def _add_contract_topics(self) -> None:
        for spec in self._embodiment.streams():
            camera = spec.key.startswith("camera.")
            depth = _CAMERA_DEPTH if camera else max(_MIN_DEPTH, round(spec.rate_hz))
            self._add(_Topic(spec.topic, spec.msgtype, True, _MAX_SILENCE_S, depth))
        command = self._embodiment.command_stream()  # may begin with the episode: its first message is not waited for
        self._add(_Topic(command.topic, command.msgtype, True, None, max(_MIN_DEPTH, round(command.rate_hz))))
        for name, msgtype in _OPTIONAL.items():
            self._add(_Topic(name, msgtype, False, None, _MIN_DEPTH))

    def _add(self, topic: _Topic) -> None:
        if topic.name not in self._topics:
            self._topics[topic.name] = topic
            self._inputs.add(topic.name, message_class(topic.msgtype), partial(self._on_message, topic), topic.depth)

    def _add_extra_topics(self) -> None:
        """Extra topics get their type from the first publisher that turns up."""
        for name in [name for name in self._extra if name not in self._topics]:
            if publishers := self.get_publishers_info_by_topic(name):
                self._add(_Topic(name, publishers[0].topic_type, True, None, _MIN_DEPTH))

    def _on_message(self, topic: _Topic, raw: bytes) -> None:
        topic.received += 1
        topic.last_s = time.monotonic()
        if self._session.state != "RECORDING":
            return
        if not self._session.has_topic(topic.name):
            self._session.add_topic(topic.name, self._offer(topic))
        self._session.write(topic.name, self.get_clock().now().nanoseconds, raw)
        if self._session.state != "RECORDING":
            self.get_logger().error(self._session.reason)
            self._publish_status()

    def _on_start(self, request: Any, response: Any) -> Any:
        try:
            if reasons := reasons_against_start(self._views()):
                raise HptRosError("cannot record:\n  " + "\n  ".join(reasons))
            offers = {t.name: self._offer(t) for t in self._topics.values() if self.count_publishers(t.name)}
            path = self._session.start(
                request.task, request.instruction, request.operator_name, offers, self.get_clock().now().nanoseconds
            )
        except HptRosError as error:
            return self._refused("start", error, response)
        return self._accepted(f"recording {path}", path, response)

    def _on_stop(self, request: Any, response: Any) -> Any:
        counts = self._session.counts
        try:
            path = self._session.stop(request.score, request.note, request.termination)
        except HptRosError as error:
            return self._refused("stop", error, response)
        empty = [name for name, count in counts.items() if not count]
        note = f"; no message on {', '.join(empty)}" if empty else ""
        return self._accepted(f"{sum(counts.values())} messages in {path}{note}", path, response)

    def _on_discard(self, _: Any, response: Any) -> Any:
        try:
            path = self._session.discard()
        except HptRosError as error:
            return self._refused("discard", error, response)
        return self._accepted(f"discarded {path.name}", None, response)

    def _accepted(self, message: str, path: Path | None, response: Any) -> Any:
        self.get_logger().info(message)
        response.success, response.message = True, message
        if path is not None:
            response.path = str(path)
        self._publish_status()
        return response

    def _refused(self, what: str, error: HptRosError, response: Any) -> Any:
        self.get_logger().warning(f"{what} refused: {error}")
        response.success, response.message = False, str(error)
        self._publish_status()
        return response

    def _views(self) -> list[TopicView]:
        self._add_extra_topics()
        now = time.monotonic()
        views = [
            TopicView(
                topic.name,
                topic.msgtype,
                topic.required,
                tuple((p.topic_type, _type_hash(p)) for p in self.get_publishers_info_by_topic(topic.name)),
                None if topic.last_s is None else now - topic.last_s,
                topic.max_silence_s,
            )
            for topic in self._topics.values()
        ]
        missing = [name for name in self._extra if name not in self._topics]
        return views + [TopicView(name, "any type", True, (), None, None) for name in missing]

    def _offer(self, topic: _Topic) -> OfferedTopic:
        publishers = self.get_publishers_info_by_topic(topic.name)
        return OfferedTopic(topic.msgtype, tuple(_offered_qos(p.qos_profile) for p in publishers))

    def _on_timer(self) -> None:
        self._add_extra_topics()
        for topic in self._topics.values():
            topic.close_period()
        self._publish_status()

    def _publish_status(self) -> None:
        now = self.get_clock().now()
        counts = self._session.counts
        status = EpisodeStatus(
            state=self._session.state,
            reason=self._session.reason,
            path=str(self._session.path or ""),
            episodes_done=self._session.episodes_done,
            duration_s=self._session.duration_s(now.nanoseconds),
            topics=list(self._topics),
            counts=[counts.get(name, 0) for name in self._topics],
            rates_hz=[topic.rate_hz() for topic in self._topics.values()],
            disk_free_bytes=self._folder.free_bytes,
        )
        status.header.stamp = now.to_msg()
        self._status_publisher.publish(status)

    def close(self) -> None:
        """End the session; an episode that nobody stopped is not a demonstration."""
        try:
            if path := self._session.close():
                self.get_logger().warning(f"the episode was not stopped: moved to {path}")
        except OSError as error:
            self.get_logger().error(f"the episode was not stopped, and stays as a partial: {error}")
        self._folder.close()


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


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(RecorderNode, args)


if __name__ == "__main__":
    sys.exit(main())
