"""The commander: the only process that commands the arm. A control thread on monotonic deadlines beside the ROS executor."""

from __future__ import annotations

import gc
import json
import math
import sys
import threading
from array import array
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from hpt_ros.control.chunk import Chunk
from hpt_ros.control.commander import Commander, Label, TickOutput
from hpt_ros.control.pacing import Pacer, Window
from hpt_ros.control.robot_health import RobotHealth
from hpt_ros.control.tick_times import ThreadUse, TickTimes
from hpt_ros.embodiment import load_embodiment, overridden
from hpt_ros.errors import BusyError, HptRosError, StreamError
from hpt_ros.msg import ActionChunk, Command, CommanderStatus, PolicyStatus
from hpt_ros.nodes.backends import NoArm, make_arm_backend, make_gripper_worker
from hpt_ros.nodes.diagnostics import Diagnostics
from hpt_ros.nodes.messages import message_class, set_time
from hpt_ros.nodes.runtime import RELIABLE_10, HptNode, run_node

_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches every version's publishers
DRY_RUN_TOPIC = "/hpt_ros/dry_run/command"  # never the record's: nobody shall learn from what was not done
_STATUS_PERIOD_S = 0.1
_WINDOW_S = 5.0
_ANSWER_S = 1.0
_SWITCH_INTERVAL_S = 0.0005  # a busy Python thread then delays the control thread by this, not by 5 ms


class CommanderNode(HptNode):
    """Parameters and wiring: joint states, chunks and services -> Commander -> back-ends, /hpt_ros/command, status.

    Parameters: embodiment (preset or file); for one run strategy, limits_fraction, command_rate_hz (see `overridden`);
    dry_run (nothing is sent to arm and gripper, labels go to /hpt_ros/dry_run/command); timing_file (gets how well the
    control thread kept its deadlines, JSON, at the end; empty: off). The control thread owns the Commander: whatever the
    executor's thread receives is handed over in `_inbox` and done at the next tick.
    """

    def __init__(self) -> None:
        super().__init__("commander_node")
        self.embodiment = overridden(
            load_embodiment(self.declare_parameter("embodiment", "sim_panda").value),
            strategy=self.declare_parameter("strategy", "").value,
            limits_fraction=self.declare_parameter("limits_fraction", 1.0).value,
            command_rate_hz=self.declare_parameter("command_rate_hz", 0.0).value,
        )
        self._dry_run = self.declare_parameter("dry_run", False).value
        self._commander = Commander(self.embodiment)
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._joints: bytes | None = None
        self._gripper: bytes | None = None
        self._robot_state: tuple[Any, bytes] | None = None
        self._ticks = 0
        self._lateness_s, self._latency_s = Window(_WINDOW_S), Window(_WINDOW_S)
        self._timing_file = self.declare_parameter("timing_file", "").value
        self._make_outputs()
        self._make_inputs()
        self.create_timer(_STATUS_PERIOD_S, self._every_status_period)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        gc.collect()
        gc.freeze()  # what lives for ever is not looked through again
        self._thread.start()
        self.get_logger().info(
            f"{self.embodiment.name}: {self.embodiment.command.rate_hz:g} Hz to {self.embodiment.command.topic}"
        )

    def close(self) -> None:
        """Brake, then end the threads and the node."""
        self._stop.set()
        self._thread.join(timeout=2.0)
        if self._gripper_worker:
            self._gripper_worker.stop()

    def _make_outputs(self) -> None:
        self._arm = NoArm() if self._dry_run else make_arm_backend(self, self.embodiment)
        self._gripper_worker = None if self._dry_run else make_gripper_worker(self, self.embodiment)
        label_topic = DRY_RUN_TOPIC if self._dry_run else self.embodiment.command.record_topic
        self._label_publisher = self.create_publisher(Command, label_topic, RELIABLE_10)
        self._status_publisher = self.create_publisher(CommanderStatus, "/hpt_ros/commander/status", RELIABLE_10)
        self._diagnostics = Diagnostics(self, self.embodiment.name)

    def _make_inputs(self) -> None:
        self.create_subscription(JointState, self.embodiment.joints.topic, self._on_joints, _NEWEST, raw=True)
        if self.embodiment.gripper:
            self.create_subscription(JointState, self.embodiment.gripper.topic, self._on_gripper, _NEWEST, raw=True)
        self.create_subscription(ActionChunk, "/hpt_ros/action_chunk", self._on_chunk, RELIABLE_10)
        self.create_subscription(PolicyStatus, "/hpt_ros/policy/status", self._on_policy_status, RELIABLE_10)
        if contract := self.embodiment.robot_state:
            kind = message_class(contract.msgtype)
            self.create_subscription(kind, contract.topic, partial(self._on_robot_state, kind), _NEWEST, raw=True)
        commander = self._commander
        for name, action in {
            "engage": lambda: commander.engage(self._now_ns()),
            "disengage": commander.disengage,
            "hold": commander.hold,
            "resume": lambda: commander.resume(self._now_ns()),
            "reset": commander.reset,
            "home": lambda: commander.home(self._now_ns()),
        }.items():
            self.create_service(Trigger, f"/hpt_ros/commander/{name}", partial(self._on_wish, name, action))

    # The executor's thread

    def _on_joints(self, raw: bytes) -> None:
        self._joints = raw

    def _on_gripper(self, raw: bytes) -> None:
        self._gripper = raw

    def _on_robot_state(self, kind: Any, raw: bytes) -> None:
        """At 1 kHz decoding all of them would cost a tenth of a core: one in a tick is enough."""
        self._robot_state = (kind, raw)

    def _on_chunk(self, message: Any) -> None:
        self._inbox.put(partial(self._take_chunk, _chunk(message), self._now_ns()))

    def _on_policy_status(self, message: Any) -> None:
        if message.state == "STALE":
            tick_ns = _time_ns(message.header.stamp)
            self._inbox.put(lambda: self._commander.on_blind_policy(tick_ns, message.reason, self._now_ns()))

    def _on_wish(self, name: str, action: Callable[[], None], _: Any, response: Any) -> Any:
        answer: Future[None] = Future()

        def act() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                action()
                answer.set_result(None)
            except Exception as error:
                answer.set_exception(error)

        try:
            if name in ("engage", "resume", "home") and not self._dry_run:
                self._refuse_conflicts()
            if name == "engage" and self._gripper_worker:
                self._gripper_worker.require_homed()
            self._inbox.put(act)
            wait([answer], timeout=_ANSWER_S)
            if answer.cancel():  # a wish that was not granted in time is never granted
                raise BusyError("the control thread does not answer", "see the log of commander_node")
            answer.result()
            response.success, response.message = True, self._commander.state.value
        except HptRosError as error:
            response.success, response.message = False, str(error)
        return response

    def _refuse_conflicts(self) -> None:
        topic = self.embodiment.command.topic
        if self.count_publishers(topic) > 1:
            others = self._other_publishers()
            raise BusyError(f"{topic} has another publisher: {others}", "stop it: one process commands the arm")
        if self.count_subscribers(topic) == 0:
            raise StreamError(f"nobody listens on {topic}", "start the arm's controller (or hpt-ros sim)")

    def _other_publishers(self) -> str:
        infos = self.get_publishers_info_by_topic(self.embodiment.command.topic)
        return ", ".join(sorted(f"{i.node_namespace.rstrip('/')}/{i.node_name}" for i in infos if not self._is_me(i)))

    def _is_me(self, info: Any) -> bool:
        return bool((info.node_name, info.node_namespace) == (self.get_name(), self.get_namespace()))

    def _every_status_period(self) -> None:
        if self._commander.active and not self._dry_run and self.count_publishers(self.embodiment.command.topic) > 1:
            reason = f"another publisher on {self.embodiment.command.topic}: {self._other_publishers()}"
            self._inbox.put(partial(self._commander.fault, reason))
        self._publish_status()

    # The control thread

    def _run(self) -> None:
        pacer = Pacer(self.embodiment.command.rate_hz)
        times = TickTimes(ThreadUse()) if self._timing_file else None
        while not self._stop.is_set():
            late_s = pacer.wait()
            self._lateness_s.add(late_s)
            if times:
                times.woke(late_s, self._commander.active)
            before = self._commander.state
            try:
                self._tick(self._now_ns() - round(late_s * 1e9))
            except Exception as error:  # the thread must live: it owns the fault state and its reset
                self.get_logger().fatal(f"control: {error!r}")
                self._commander.fault(f"internal error: {error!r}")
            self._ticks += 1
            if times:
                times.done()
            if self._commander.state is not before:
                self.get_logger().info(f"{self._commander.state.value}: {self._commander.reason}")
                self._publish_status()
        self._last_words()
        if times:
            Path(self._timing_file).write_text(json.dumps(times.to_mapping()))

    def _tick(self, now_ns: int) -> None:
        if self._commander.active or not self._inbox.empty():
            self._measure()
        with suppress(Empty):
            while True:
                self._inbox.get_nowait()()
        self._send(self._commander.tick(now_ns))

    def _last_words(self) -> None:
        """The end of the process: one more message that brakes."""
        if self._commander.active:
            self._commander.hold()
            self._send(self._commander.tick(self._now_ns()))
            self._arm.flush()

    def _measure(self) -> None:
        joints, self._joints = self._joints, None
        gripper, self._gripper = self._gripper, None
        state, self._robot_state = self._robot_state, None
        try:
            if state is not None:
                report = deserialize_message(state[1], state[0])
                stamp_ns = _time_ns(report.header.stamp)
                self._commander.on_robot_state(RobotHealth.of(report), self._now_ns(), stamp_ns)
            if joints is not None:
                message = deserialize_message(joints, JointState)
                names = self.embodiment.joints.names
                q = _by_name(message, names, message.position)
                dq = _by_name(message, names, message.velocity) if message.velocity else None
                self._commander.on_joints(_time_ns(message.header.stamp), q, dq, self._now_ns())
            if gripper is not None and self.embodiment.gripper:
                message = deserialize_message(gripper, JointState)
                fingers = _by_name(message, self.embodiment.gripper.names, message.position)
                self._commander.on_gripper(float(fingers.sum()))
        except StreamError as error:  # counts as no sample: the stream grows stale
            self.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _take_chunk(self, chunk: Chunk, now_ns: int) -> None:
        if self._commander.on_chunk(chunk, now_ns):
            self._latency_s.add((now_ns - chunk.observation_ns) * 1e-9)

    def _send(self, output: TickOutput) -> None:
        if output.arm:
            self._arm.send(output.arm)
        if output.label:
            self._publish_label(output.label)
        if output.gripper_m is not None and self._gripper_worker:
            self._gripper_worker.command(output.gripper_m)

    def _publish_label(self, label: Label) -> None:
        message = Command(names=list(self.embodiment.command_names), source=label.source)
        set_time(message.header.stamp, label.in_force_ns)
        message.position = array("d", label.position.tobytes())
        message.velocity = array("d", label.velocity.tobytes())
        self._label_publisher.publish(message)

    # Both

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _publish_status(self) -> None:
        commander, lateness, latency = self._commander, self._lateness_s, self._latency_s
        message = CommanderStatus(
            state=commander.state.value,
            reason=commander.reason,
            source=commander.source,
            ticks=self._ticks,
            rate_hz=lateness.rate_hz(),
            lateness_p50_ms=lateness.percentile(50) * 1e3,
            lateness_p99_ms=lateness.percentile(99) * 1e3,
            lateness_max_ms=lateness.percentile(100) * 1e3,
            chunks_accepted=commander.chunks_accepted,
            chunks_rejected=commander.rejections.total(),
            last_rejection=commander.last_rejection,
            rows_late=commander.rows_late,
            limited_ticks=commander.limited_ticks,
            chunk_latency_p50_ms=latency.percentile(50) * 1e3,
            chunk_latency_p99_ms=latency.percentile(99) * 1e3,
        )
        set_time(message.header.stamp, self._now_ns())
        self._status_publisher.publish(message)
        self._diagnostics.publish(message)


def _by_name(message: Any, names: tuple[str, ...], values: Any) -> NDArray[np.float64]:
    """`values` of a JointState in the order of `names`: controllers promise no order."""
    found = message.name
    try:
        return np.array([values[found.index(name)] for name in names])
    except (ValueError, IndexError):
        raise StreamError(
            f"joint state with names {found} and {len(values)} values, expected {list(names)}",
            "correct the embodiment, or what publishes the topic",
        ) from None


def _time_ns(stamp: Any) -> int:
    return int(stamp.sec * 10**9 + stamp.nanosec)


def _chunk(message: Any) -> Chunk:
    """As it came: what is wrong with it is for the gate to say."""
    names, rows = tuple(message.names), np.array(message.rows, dtype=float)
    if names and len(rows) % len(names) == 0:
        rows = rows.reshape(-1, len(names))
    period_s = message.period_s
    return Chunk(
        observation_ns=_time_ns(message.observation_stamp),
        period_ns=round(period_s * 1e9) if math.isfinite(period_s) else 0,
        names=names,
        rows=rows,
        fingerprint=message.fingerprint,
        source=message.source,
    )


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run hpt_ros commander_node`."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return run_node(CommanderNode, args)


if __name__ == "__main__":
    sys.exit(main())
