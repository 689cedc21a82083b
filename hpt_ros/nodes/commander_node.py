"""The commander: the only process that commands the arm. A control thread on monotonic deadlines beside the ROS executor."""

from __future__ import annotations

import gc
import json
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
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from hpt_ros.bringup.name_lock import NameLock
from hpt_ros.control.chunk import Chunk
from hpt_ros.control.commander import Commander, Label, TickOutput
from hpt_ros.control.latency import STAGES, StageLatency
from hpt_ros.control.pacing import Pacer, Window
from hpt_ros.control.realtime import CONTROL_THREAD, name_this_thread
from hpt_ros.control.recovery import RecoveryPort
from hpt_ros.control.robot_health import RobotHealth
from hpt_ros.control.tick_times import ThreadUse, TickTimes
from hpt_ros.embodiment import load_embodiment, overridden
from hpt_ros.embodiment.schema import BOOL
from hpt_ros.errors import BusyError, HptRosError, StreamError
from hpt_ros.msg import ActionChunk, Command, CommanderStatus, PolicyStatus
from hpt_ros.nodes.backends import NoArm, make_arm_backend, make_gripper_worker, make_recovery
from hpt_ros.nodes.chunk_message import chunk_of, stages_of, time_ns
from hpt_ros.nodes.commander_status import commander_status
from hpt_ros.nodes.diagnostics import Diagnostics
from hpt_ros.nodes.messages import message_class, set_time
from hpt_ros.nodes.namespace import NamespacedNode
from hpt_ros.nodes.newest import NEWEST, Newest
from hpt_ros.nodes.realtime_parameters import ask_for_realtime
from hpt_ros.nodes.runtime import RELIABLE_10, HptNode, owner_of, run_node

STATUS_TOPIC = "/hpt_ros/commander/status"
DRY_RUN_TOPIC = "/hpt_ros/dry_run/command"  # never the record's: nobody shall learn from what was not done
_STATUS_PERIOD_S = 0.1
_WINDOW_S = 5.0
_ANSWER_S = 1.0
_RECOVERY_S = 15.0
_SWITCH_INTERVAL_S = 0.0005  # a busy Python thread then delays the control thread by this, not by 5 ms


class CommanderNode(HptNode):
    """Parameters and wiring: joint states, chunks and services -> Commander -> back-ends, /hpt_ros/command, status.

    Parameters: embodiment (preset or file); for one run strategy, execute_rows, limits_fraction, command_rate_hz (see
    `overridden`); realtime_priority (SCHED_FIFO, 1 to 98; 0: off, -1: as permitted), lock_memory;
    dry_run (nothing is sent to arm and gripper, labels go to /hpt_ros/dry_run/command); timing_file (gets how well the
    control thread kept its deadlines, JSON, at the end; empty: off). The control thread owns the Commander: it takes
    the newest states itself, and whatever the executor's thread receives is handed over in `_inbox` and done at the next tick.
    """

    def __init__(self) -> None:
        super().__init__("commander_node")
        self.embodiment = overridden(
            load_embodiment(self.declare_parameter("embodiment", "sim_panda").value),
            strategy=self.declare_parameter("strategy", "").value,
            limits_fraction=self.declare_parameter("limits_fraction", 1.0).value,
            command_rate_hz=self.declare_parameter("command_rate_hz", 0.0).value,
            execute_rows=self.declare_parameter("execute_rows", 0).value,
        )
        self._dry_run = self.declare_parameter("dry_run", False).value
        self._commander = Commander(self.embodiment)
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._recovering: threading.Thread | None = None
        self._lock = self._claim_domain()
        self._pacer = Pacer(self.embodiment.command.rate_hz)
        self._stages = StageLatency(STAGES, _WINDOW_S)
        self._lateness_s, self._latency_s = Window(_WINDOW_S), Window(_WINDOW_S)
        self._timing_file = self.declare_parameter("timing_file", "").value
        self._make_outputs()
        self._make_inputs()
        self.create_timer(_STATUS_PERIOD_S, self._every_status_period)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=CONTROL_THREAD, daemon=True)
        gc.collect()
        gc.freeze()  # what lives for ever is not looked through again
        self._thread.start()
        ask_for_realtime(self, self._thread)
        self.get_logger().info(
            f"{self.embodiment.name}: {self.embodiment.command.rate_hz:g} Hz to {self.embodiment.command.topic}"
        )

    def close(self) -> None:
        """Brake, then end the threads and the node."""
        self._stop.set()
        self._thread.join(timeout=2.0)
        if self._gripper_worker:
            self._gripper_worker.stop()
        self._lock.close()
        self._listener.destroy_node()

    def _make_outputs(self) -> None:
        self._arm = NoArm() if self._dry_run else make_arm_backend(self, self.embodiment)
        self._gripper_worker = None if self._dry_run else make_gripper_worker(self, self.embodiment)
        self._recovery = None if self._dry_run else make_recovery(self, self.embodiment)
        label_topic = DRY_RUN_TOPIC if self._dry_run else self.embodiment.command.record_topic
        self._label_publisher = self.create_publisher(Command, label_topic, RELIABLE_10)
        self._status_publisher = self.create_publisher(CommanderStatus, STATUS_TOPIC, RELIABLE_10)
        self._diagnostics = Diagnostics(self, self.embodiment.name)

    def _make_inputs(self) -> None:
        listener = self._listener = NamespacedNode(
            "commander_inputs", start_parameter_services=False, enable_rosout=False
        )
        self._joints = Newest(listener, JointState, self.embodiment.joints.topic)
        gripper, state = self.embodiment.gripper, self.embodiment.robot_state
        self._gripper = Newest(listener, JointState, gripper.topic) if gripper else None
        self._robot_state = Newest(listener, message_class(state.msgtype), state.topic) if state else None
        self.create_subscription(ActionChunk, "/hpt_ros/action_chunk", self._on_chunk, RELIABLE_10)
        self.create_subscription(PolicyStatus, "/hpt_ros/policy/status", self._on_policy_status, RELIABLE_10)
        if button := self.embodiment.deadman:
            kind = message_class(button.msgtype)
            self.create_subscription(kind, button.topic, self._on_deadman, NEWEST)
        self.create_service(Trigger, "/hpt_ros/commander/recover_errors", self._on_recover)
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

    def _on_chunk(self, message: Any) -> None:
        self._inbox.put(partial(self._take_chunk, message, chunk_of(message), self._now_ns()))

    def _on_deadman(self, message: Any) -> None:
        contract = self.embodiment.deadman
        assert contract is not None, "subscribed for it"
        if contract.msgtype == BOOL:
            pressed = bool(message.data)
        else:
            pressed = contract.button < len(message.buttons) and bool(message.buttons[contract.button])
        self._inbox.put(partial(self._commander.on_deadman, pressed, self._now_ns()))

    def _on_recover(self, _: Any, response: Any) -> Any:
        """Answers at once: recovery takes seconds, and the executor must go on for it. The outcome is in the status."""
        port = self._recovery
        if port is None:
            response.message = f"nothing to recover with: {self.embodiment.name} has no `recovery`"
        elif self._recovering and self._recovering.is_alive():
            response.message = "a recovery is under way"
        else:
            response.success, response.message = self._granted(self._commander.recover_errors)
        if response.success and port is not None:
            self._recovering = threading.Thread(target=self._recover, args=(port,), name="recovery", daemon=True)
            self._recovering.start()
            response.message = "recovering: the outcome follows in /hpt_ros/commander/status"
        return response

    def _recover(self, port: RecoveryPort) -> None:
        try:
            outcome = f"recovered: {port.recover(_RECOVERY_S)}"
        except Exception as error:  # whatever a driver's service did, a person must read it
            outcome = f"recovery failed: {error}"
        self.get_logger().info(outcome)
        self._inbox.put(partial(self._commander.recovered, outcome))

    def _on_policy_status(self, message: Any) -> None:
        if message.state == "STALE":
            tick_ns = time_ns(message.header.stamp)
            self._inbox.put(lambda: self._commander.on_blind_policy(tick_ns, message.reason, self._now_ns()))

    def _on_wish(self, name: str, action: Callable[[], None], _: Any, response: Any) -> Any:
        try:
            if name in ("engage", "resume", "home") and not self._dry_run:
                self._refuse_conflicts()
            if name == "engage" and self._gripper_worker:
                self._gripper_worker.require_homed()
        except HptRosError as error:
            response.success, response.message = False, str(error)
        else:
            response.success, response.message = self._granted(action)
        return response

    def _granted(self, action: Callable[[], None]) -> tuple[bool, str]:
        """Let the control thread do it: whether it did, and its state or why not."""
        answer: Future[None] = Future()

        def act() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                action()
                answer.set_result(None)
            except Exception as error:
                answer.set_exception(error)

        self._inbox.put(act)
        wait([answer], timeout=_ANSWER_S)
        if answer.cancel():  # a wish that was not granted in time is never granted
            return False, str(BusyError("the control thread does not answer", "see the log of commander_node"))
        try:
            answer.result()
        except HptRosError as error:
            return False, str(error)
        return True, self._commander.state.value

    def _refuse_conflicts(self) -> None:
        topic = self.embodiment.command.topic
        if self.count_publishers(topic) > 1:
            others = self._other_publishers()
            raise BusyError(f"{topic} has another publisher: {others}", "stop it: one process commands the arm")
        if self.count_publishers(STATUS_TOPIC) > 1:
            raise BusyError(
                "another commander runs in this ROS domain", "stop it, or give it a namespace or a domain of its own"
            )
        if self.count_subscribers(topic) == 0:
            raise StreamError(f"nobody listens on {topic}", "start the arm's controller (or hpt-ros sim)")

    def _claim_domain(self) -> NameLock:
        domain = self.context.get_domain_id()
        try:
            return NameLock(f"commander.{domain}.{self.get_namespace()}")
        except OSError as error:
            raise BusyError(
                f"another commander of this machine runs in ROS domain {domain}, namespace {self.get_namespace()}",
                "stop it, or give this one a namespace or a domain of its own",
            ) from error

    def _other_publishers(self) -> str:
        infos = self.get_publishers_info_by_topic(self.embodiment.command.topic)
        return ", ".join(sorted(owner_of(info) for info in infos if not self._is_me(info)))

    def _is_me(self, info: Any) -> bool:
        return bool((info.node_name, info.node_namespace) == (self.get_name(), self.get_namespace()))

    def _every_status_period(self) -> None:
        if self._commander.active and not self._dry_run and self.count_publishers(self.embodiment.command.topic) > 1:
            reason = f"another publisher on {self.embodiment.command.topic}: {self._other_publishers()}"
            self._inbox.put(partial(self._commander.fault, reason))
        self._publish_status()

    # The control thread

    def _run(self) -> None:
        name_this_thread(CONTROL_THREAD)
        times = TickTimes(ThreadUse()) if self._timing_file else None
        while not self._stop.is_set():
            late_s = self._pacer.wait()
            self._lateness_s.add(late_s)
            if times:
                times.woke(late_s, self._commander.active)
            before = self._commander.state
            try:
                self._tick(self._pacer.deadline_ns(self._now_ns))
            except Exception as error:  # the thread must live: it owns the fault state and its reset
                self.get_logger().fatal(f"control: {error!r}")
                self._commander.fault(f"internal error: {error!r}")
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
        try:
            if self._robot_state and (report := self._robot_state.take()) is not None:
                stamp_ns = time_ns(report.header.stamp)
                self._commander.on_robot_state(RobotHealth.of(report), self._now_ns(), stamp_ns)
            if (joints := self._joints.take()) is not None:
                names = self.embodiment.joints.names
                q = _by_name(joints, names, joints.position)
                dq = _by_name(joints, names, joints.velocity) if joints.velocity else None
                self._commander.on_joints(time_ns(joints.header.stamp), q, dq, self._now_ns())
            if self._gripper and self.embodiment.gripper and (fingers := self._gripper.take()) is not None:
                width_m = _by_name(fingers, self.embodiment.gripper.names, fingers.position).sum()
                self._commander.on_gripper(float(width_m))
        except StreamError as error:  # counts as no sample: the stream grows stale
            self.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _take_chunk(self, message: Any, chunk: Chunk, now_ns: int) -> None:
        if self._commander.on_chunk(chunk, now_ns):
            self._latency_s.add((now_ns - chunk.observation_ns) * 1e-9)
            self._stages.add(stages_of(message, chunk, now_ns))

    def _send(self, output: TickOutput) -> None:
        if output.arm:
            self._arm.send(output.arm)
        if output.label:
            self._publish_label(output.label)
        if output.gripper_m is not None and self._gripper_worker:
            self._gripper_worker.command(output.gripper_m)

    def _publish_label(self, label: Label) -> None:
        message = Command(
            names=list(self.embodiment.command_names), source=label.source, intervention=label.intervention
        )
        set_time(message.header.stamp, label.in_force_ns)
        message.position = array("d", label.position.tobytes())
        message.velocity = array("d", label.velocity.tobytes())
        self._label_publisher.publish(message)

    # Both

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _publish_status(self) -> None:
        message = commander_status(
            self._commander, self._now_ns(), self._pacer, self._lateness_s, self._latency_s, self._stages
        )
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


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run hpt_ros commander_node`."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return run_node(CommanderNode, args)


if __name__ == "__main__":
    sys.exit(main())
