"""The recorder: serialized messages of every topic of the embodiment, one bag per episode."""

from __future__ import annotations

import sys
from operator import itemgetter
from pathlib import Path
from typing import Any

from std_srvs.srv import Trigger

from hpt_ros.configuration import check
from hpt_ros.embodiment import StreamSpec, load_embodiment
from hpt_ros.embodiment.schema import JOINT_STATE
from hpt_ros.errors import HptRosError
from hpt_ros.heap import keep_large_blocks
from hpt_ros.msg import EpisodeStatus
from hpt_ros.nodes.namespace import NamespacedNode
from hpt_ros.nodes.recorder_inputs import Arrival, Input
from hpt_ros.nodes.runtime import RELIABLE_10, HptNode, run_node
from hpt_ros.recording.checks import TopicView, reasons_against_start
from hpt_ros.recording.episode import prepare_types
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.monitor import StreamContract, StreamWarning
from hpt_ros.recording.session import OfferedTopic, RecordingSession
from hpt_ros.recording.space import DEFAULT_EPISODE_S
from hpt_ros.srv import StartEpisode, StopEpisode

_TAKE_PERIOD_S = 0.05  # the middleware stamps what arrives, so that taking it in batches loses no accuracy
_WATCH_PERIOD_S = 0.1
_STATUS_STEPS = 5  # of the watch: status at 2 Hz
_DISCOVERY_STEPS = 10
_MAX_SILENCE_S = 1.0  # before a start; a slow machine pauses longer than the age budget of a stream now and then
_OPTIONAL = {
    "/hpt_ros/action_chunk": "hpt_ros/msg/ActionChunk",
    "/hpt_ros/commander/status": "hpt_ros/msg/CommanderStatus",
}
_CAMERA_DEPTH = 30
_MIN_DEPTH = 100  # a slow machine pauses for a tenth of a second now and then


class RecorderNode(HptNode):
    """Parameters and wiring: inputs -> RecordingSession; services start, stop, discard, undo; status and warnings.

    Parameters: embodiment (preset or file), bags_dir, min_free_bytes, extra_topics (names, required when given),
    compression (none or zstd), expected_episode_s (length assumed before the first episode, to predict space).
    """

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self._embodiment = load_embodiment(self.declare_parameter("embodiment", "sim_panda").value)
        compression = self.declare_parameter("compression", "none").value
        check(compression in ("none", "zstd"), "compression", compression, "none or zstd")
        episode_s = float(self.declare_parameter("expected_episode_s", DEFAULT_EPISODE_S).value)
        check(episode_s > 0, "expected_episode_s", episode_s, "> 0 s")
        self._folder = BagsFolder(Path(self.declare_parameter("bags_dir", "bags").value))
        for salvage in self._folder.salvage_leftovers():
            self.get_logger().warning(f"an interrupted recording was put aside: {salvage}")
        min_free_bytes = self.declare_parameter("min_free_bytes", 1_000_000_000).value
        self._session = RecordingSession(
            self._folder, self._embodiment, min_free_bytes, compression == "zstd", episode_s
        )
        self._extra = [name for name in self.declare_parameter("extra_topics", [""]).value if name]
        # no executor spins this node: its subscriptions are emptied by a timer, at a fifth of the cost of callbacks
        self._listener = NamespacedNode("recorder_inputs", start_parameter_services=False, enable_rosout=False)
        self._inputs: dict[str, Input] = {}
        self._add_contract_topics()
        prepare_types(i.msgtype for i in self._inputs.values())
        self._warnings: list[StreamWarning] = []
        self._start_ns = 0
        self._steps = 0
        self._status_publisher = self.create_publisher(EpisodeStatus, "/hpt_ros/recorder/status", RELIABLE_10)
        self.create_service(StartEpisode, "/hpt_ros/recorder/start", self._on_start)
        self.create_service(StopEpisode, "/hpt_ros/recorder/stop", self._on_stop)
        self.create_service(Trigger, "/hpt_ros/recorder/discard", self._on_discard)
        self.create_service(Trigger, "/hpt_ros/recorder/undo", self._on_undo)
        self.create_timer(_TAKE_PERIOD_S, self._take)
        self.create_timer(_WATCH_PERIOD_S, self._watch)

    def _add_contract_topics(self) -> None:
        for spec in self._embodiment.streams():
            self._add_stream(spec, awaited=False)
        self._add_stream(self._embodiment.command_stream(), awaited=True)  # may begin with the episode
        for name, msgtype in _OPTIONAL.items():
            self._add(name, msgtype, required=False)

    def _add_stream(self, spec: StreamSpec, awaited: bool) -> None:
        image = not awaited and spec.msgtype != JOINT_STATE
        contract = StreamContract(
            spec.rate_hz, spec.max_age_ns / 1e9, compare_payload=image and not self._embodiment.simulated
        )
        depth = _CAMERA_DEPTH if image else max(_MIN_DEPTH, round(spec.rate_hz))
        self._inputs[spec.topic] = Input(spec.topic, spec.msgtype, contract, depth, True, awaited)

    def _add(self, name: str, msgtype: str, required: bool) -> None:
        if name not in self._inputs:
            contract = StreamContract(0.0, 0.0, has_header=False)
            self._inputs[name] = Input(name, msgtype, contract, _MIN_DEPTH, required, awaited=True)

    def _connect(self, everything: bool) -> list[str]:
        """Subscribe to what turned up; names of the topics whose subscription had to be replaced."""
        for name in [name for name in self._extra if name not in self._inputs]:  # their type is the first publisher's
            if publishers := self._listener.get_publishers_info_by_topic(name):
                self._add(name, publishers[0].topic_type, required=True)
        inputs = [i for i in self._inputs.values() if everything or not i.connected]
        replaced = [i.name for i in inputs if i.connect(self._listener)]
        for name in replaced:
            self.get_logger().warning(f"{name}: a publisher offers another quality of service; subscribed anew")
        return replaced

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _take(self) -> None:
        """Empty the subscriptions, in order of receipt."""
        batch: list[Arrival] = []
        now_ns = self._now_ns()
        clock_ns = self._now_ns if self.get_clock().ros_time_is_active else None
        for source in self._inputs.values():
            source.take(batch, clock_ns, now_ns)
        batch.sort(key=itemgetter(0))
        recording = self._session.state == "RECORDING"
        for receive_ns, publish_ns, sequence, publisher, raw, source in batch:
            source.monitor.add(receive_ns, raw)
            if recording:
                if not self._session.has_topic(source.name):
                    self._session.add_topic(source.name, self._offer(source))
                self._session.write(source.name, receive_ns, raw, publish_ns, sequence, publisher)
        if recording:
            self._report_end()

    def _report_end(self) -> None:
        """Say at once that an episode was ended by the disk."""
        if self._session.state == "RECORDING":
            return
        self.get_logger().error(self._session.reason)
        self._publish_status()

    def _watch(self) -> None:
        self._steps += 1
        self._take()  # a stream is not silent because we were busy
        self._connect(everything=self._steps % _DISCOVERY_STEPS == 0)
        now_ns = self._now_ns()
        for source in self._inputs.values():
            source.monitor.step(now_ns)
        if self._session.state == "RECORDING":
            self._session.check(now_ns)
            self._report_end()
        before = {(w.topic, w.kind) for w in self._warnings}
        self._warnings = self._current_warnings(now_ns)
        new = [w for w in self._warnings if (w.topic, w.kind) not in before]
        if self._session.state == "RECORDING":
            for warning in new:
                self.get_logger().warning(warning.text)
                self._session.note_warning(warning.text, now_ns)
        if new or self._steps % _STATUS_STEPS == 0:
            self._publish_status()

    def _current_warnings(self, now_ns: int) -> list[StreamWarning]:
        """Of required streams (one that may begin with the episode: from its first message there on) and of the disk."""
        recording = self._session.state == "RECORDING"
        watched = [
            i.monitor
            for i in self._inputs.values()
            if i.required and (not i.awaited or (recording and (i.monitor.last_ns or 0) > self._start_ns))
        ]
        found = [*(monitor.warning(now_ns) for monitor in watched), self._session.disk_warning()]
        return [warning for warning in found if warning]

    def _on_start(self, request: Any, response: Any) -> Any:
        try:
            replaced = self._connect(everything=True)
            self._take()  # what came before is not of this episode
            reasons = [f"{name}: subscribed anew to fit its publishers; start again" for name in replaced]
            if reasons := reasons + reasons_against_start(self._views()):
                raise HptRosError("cannot record:\n  " + "\n  ".join(reasons))
            offers = {i.name: self._offer(i) for i in self._inputs.values() if self.count_publishers(i.name)}
            self._start_ns = self._now_ns()
            path = self._session.start(
                request.task,
                request.instruction,
                request.operator_name,
                offers,
                self._start_ns,
                request.episodes_target,
                self._live_bytes_per_s(),
            )
        except HptRosError as error:
            return self._refused("start", error, response)
        for source in self._inputs.values():
            source.renew_latched(self._listener)
        return self._accepted(f"recording {path}", path, response)

    def _on_stop(self, request: Any, response: Any) -> Any:
        self._take()
        tallies = self._session.tallies
        try:
            path = self._session.stop(request.score, request.note, request.termination, self._now_ns())
        except HptRosError as error:
            return self._refused("stop", error, response)
        empty = [name for name, tally in tallies.items() if not tally.count]
        note = f"; no message on {', '.join(empty)}" if empty else ""
        drops = {name: tally.drops for name, tally in tallies.items() if tally.drops}
        note += f"; lost: {', '.join(f'{name} {count}' for name, count in drops.items())}" if drops else ""
        total = sum(tally.count for tally in tallies.values())
        return self._accepted(f"{total} messages in {path}{note}", path, response)

    def _on_discard(self, _: Any, response: Any) -> Any:
        try:
            path = self._session.discard()
        except HptRosError as error:
            return self._refused("discard", error, response)
        return self._accepted(f"discarded {path.name}", None, response)

    def _on_undo(self, _: Any, response: Any) -> Any:
        try:
            path = self._session.undo()
        except HptRosError as error:
            return self._refused("undo", error, response)
        return self._accepted(f"moved to {path}", None, response)

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
        now_ns = self._now_ns()
        views = [i.view(self._listener, now_ns, _MAX_SILENCE_S) for i in self._inputs.values()]
        missing = [name for name in self._extra if name not in self._inputs]
        return views + [TopicView(name, "any type", True, (), None, None) for name in missing]

    def _offer(self, source: Input) -> OfferedTopic:
        return OfferedTopic(source.msgtype, source.offers(self._listener), source.monitor.contract.rate_hz)

    def _live_bytes_per_s(self) -> float:
        return sum(i.monitor.bytes_per_s() for i in self._inputs.values())

    def _publish_status(self) -> None:
        now = self.get_clock().now()
        session, inputs = self._session, list(self._inputs.values())
        tallies = session.tallies
        present = [tallies.get(i.name) for i in inputs]
        live = self._live_bytes_per_s()
        status = EpisodeStatus(
            state=session.state,
            reason=session.reason,
            path=str(session.path or ""),
            task=session.about.task,
            instruction=session.about.instruction,
            episodes_done=session.episodes_done,
            episodes_target=session.episodes_target,
            duration_s=session.duration_s(now.nanoseconds),
            topics=[i.name for i in inputs],
            counts=[tally.count if tally else 0 for tally in present],
            rates_hz=[i.monitor.rate_hz() for i in inputs],
            expected_hz=[i.monitor.contract.rate_hz for i in inputs],
            worst_gap_ms=[tally.gaps.max_ns / 1e6 if tally else 0.0 for tally in present],
            drops=[tally.drops if tally else 0 for tally in present],
            warnings=[warning.text for warning in self._warnings],
            bytes_per_s=live if session.state == "RECORDING" else session.space.bytes_per_s,
            disk_free_bytes=self._folder.free_bytes,
            disk_needed_bytes=session.needed_bytes(live),
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
        self._listener.destroy_node()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    keep_large_blocks()
    return run_node(RecorderNode, args)


if __name__ == "__main__":
    sys.exit(main())
