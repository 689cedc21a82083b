"""The policy: an observation at every tick, one inference, one ActionChunk. Never commands the arm."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: else waiting threads starve the other nodes

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from hpt_ros.configuration import check
from hpt_ros.control.commitment import Commitment, Committed
from hpt_ros.control.latency import OBSERVING, StageLatency
from hpt_ros.control.pacing import Pacer, Window
from hpt_ros.embodiment import fingerprint, load_embodiment, overridden, require_same
from hpt_ros.errors import ConfigError, HptRosError, StreamError
from hpt_ros.heap import keep_all_blocks
from hpt_ros.msg import ActionChunk, CommanderStatus, PolicyStatus
from hpt_ros.nodes.camera_bundle import SYNCS, CameraBundle
from hpt_ros.nodes.diagnostics import Diagnostics
from hpt_ros.nodes.messages import message_class, set_time
from hpt_ros.nodes.observation_files import ObservationFiles
from hpt_ros.nodes.policy_source import CheckpointSource, PolicySource
from hpt_ros.nodes.runtime import RELIABLE_10, HptNode, LateSubscriptions, run_node
from hpt_ros.streams import Observer

_STATUS_PERIOD_S = 0.1
_DEPTH = {"joints": 200, "gripper": 20}  # cameras: 5
_CAMERA = ("camera.", "depth.")
_WINDOW_S = 5.0
_LATENCY_PERCENT = 95
_SERVING = {"device": "cpu", "dtype": "float32", "compile": False, "quantize": "none"}


class _Said(NamedTuple):
    """State and reason of the status, and the tick that they are of."""

    tick_ns: int
    state: str
    reason: str


class PolicyNode(LifecycleNode, HptNode):  # type: ignore[misc]
    """Parameters and wiring: topics -> Observer -> PolicyRunner -> /hpt_ros/action_chunk.

    The status is stamped with the tick that it speaks of, and sent at once from every tick without an observation.

    A managed node: `configure` loads the network, `activate` begins to publish, `deactivate` stops, on which the commander
    stops the arm, `cleanup` forgets the network. With `autostart` (the usual case) it does the first two itself, and what it
    cannot serve ends the process.

    Parameters: checkpoint (folder), embodiment (preset or file; empty: the checkpoint's own), threads (0: what is
    fastest here), device, dtype, compile, quantize (see ServingOptions), instruction (of
    policies with language; empty: the only one that the checkpoint knows), save_observations (folder that gets what the
    policy saw, an .npz a tick; empty: off), camera_sync and camera_slop_s (see `CameraBundle`), rtc (chunks go on from the
    rows that the commander executes meanwhile; with strategy `blend`, execute_rows 1 and a head that can), strategy and execute_rows
    (of the commander, if not the embodiment's), autostart.
    """

    def __init__(self, source: Callable[[Path], PolicySource] = CheckpointSource) -> None:
        super().__init__("policy_node")
        folder = self.declare_parameter("checkpoint", "").value
        if not folder:
            raise ConfigError(
                "checkpoint", "nothing", "the folder of a trained checkpoint", "add -p checkpoint:=FOLDER"
            )
        self._source = source(Path(folder))
        self.get_logger().info(self._source.origin)
        name = self.declare_parameter("embodiment", "").value
        self.embodiment = load_embodiment(name) if name else self._source.embodiment
        require_same(self._source.embodiment, self.embodiment, f"checkpoint {folder}", "the embodiment")
        self._commitment = self._make_commitment()
        self._checkpoint_name = str(folder)
        self._options: dict[str, Any] = {
            "threads": self.declare_parameter("threads", 1).value or None,
            "instruction": self.declare_parameter("instruction", "").value,
            "rtc": self._commitment is not None,
            **{name: self.declare_parameter(name, usual).value for name, usual in _SERVING.items()},
        }
        autostart = self.declare_parameter("autostart", True).value
        self._runner = self._source.acting(**self._options) if autostart else None
        self._active = False
        self._observer = Observer(self.embodiment)
        saved = self.declare_parameter("save_observations", "").value
        self._files = ObservationFiles(Path(saved)) if saved else None
        self._fingerprint = fingerprint(self.embodiment)
        self._said = _Said(self.get_clock().now().nanoseconds, "WAITING", "no tick yet")
        self._ticks = self._stale_ticks = self._chunks = 0
        self._ages_ms: dict[str, float] = {}
        self._latency_s, self._stages = Window(_WINDOW_S), StageLatency(OBSERVING, _WINDOW_S)
        self._chunk_publisher = self.create_publisher(ActionChunk, "/hpt_ros/action_chunk", RELIABLE_10)
        self._status_publisher = self.create_publisher(PolicyStatus, "/hpt_ros/policy/status", RELIABLE_10)
        self._diagnostics = Diagnostics(self, self.embodiment.name)
        self._subscriptions_ = LateSubscriptions(self)
        bundle = self._make_bundle()
        for spec in self.embodiment.streams():
            if bundle and spec.key.startswith(_CAMERA):
                receive = bundle.receiver(spec.key)
            else:
                receive = partial(self._on_sample, spec.key)
            self._subscriptions_.add(spec.topic, message_class(spec.msgtype), receive, _DEPTH.get(spec.key, 5))
        self.create_timer(_STATUS_PERIOD_S, self._publish_status)
        self._stop = threading.Event()
        self._worker = threading.Thread(target=self._run, name="policy", daemon=True)
        if autostart:
            self.trigger_configure()
            self.trigger_activate()
        self._worker.start()

    def on_configure(self, _: Any) -> TransitionCallbackReturn:
        """Load the network, unless it is there."""
        try:
            if self._runner is None:
                self._runner = self._source.acting(**self._options)
        except HptRosError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, _: Any) -> TransitionCallbackReturn:
        """Publish from the next tick on."""
        self._active = True
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, _: Any) -> TransitionCallbackReturn:
        """Publish no chunk any more; the next tick tells the commander."""
        self._active = False
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, _: Any) -> TransitionCallbackReturn:
        """Forget the network."""
        self._runner = None
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, _: Any) -> TransitionCallbackReturn:
        """As `on_deactivate`."""
        return self.on_deactivate(_)

    def _make_bundle(self) -> CameraBundle | None:
        sync = self.declare_parameter("camera_sync", SYNCS[0]).value
        slop_s = self.declare_parameter("camera_slop_s", 0.02).value
        check(sync in SYNCS, "camera_sync", sync, f"one of {', '.join(SYNCS)}")
        cameras = [spec.key for spec in self.embodiment.streams() if spec.key.startswith(_CAMERA)]
        return CameraBundle(cameras, self._on_sample, slop_s) if sync == "approximate" else None

    def _make_commitment(self) -> Commitment | None:
        rtc = self.declare_parameter("rtc", False).value
        strategy = self.declare_parameter("strategy", "").value
        rows = self.declare_parameter("execute_rows", 0).value
        policy = overridden(self.embodiment, strategy, execute_rows=rows).policy
        if not rtc:
            return None
        check(
            policy.strategy == "blend" and policy.execute_rows == 1,
            "rtc",
            f"strategy {policy.strategy} with execute_rows {policy.execute_rows}",
            "strategy blend with execute_rows 1",
            "add strategy:=blend execute_rows:=1",
        )
        commitment = Commitment(self.embodiment)
        on_commander = partial(self._on_commander, commitment)
        self.create_subscription(CommanderStatus, "/hpt_ros/commander/status", on_commander, RELIABLE_10)
        return commitment

    def _on_commander(self, commitment: Commitment, status: CommanderStatus) -> None:
        commitment.on_commander(status.state, status.source, self.get_clock().now().nanoseconds)

    def _committed(self, tick_ns: int) -> Committed | None:
        latency_s = self._latency_s.percentile(_LATENCY_PERCENT)
        return self._commitment.at(tick_ns, latency_s) if self._commitment else None

    def _on_sample(self, key: str, raw: bytes) -> None:
        self._observer.push(key, raw, self.get_clock().now().nanoseconds)

    def _run(self) -> None:
        pacer = Pacer(self.embodiment.policy.rate_hz)
        while not self._stop.is_set():
            pacer.wait()
            try:
                self._tick()
            except Exception as error:  # a thread that dies in silence would look like a slow policy
                if not self._stop.is_set():
                    self.get_logger().fatal(f"policy stopped: {error}")
                    os._exit(1)

    def _tick(self) -> None:
        began = time.monotonic()
        tick_ns = self.get_clock().now().nanoseconds
        self._ticks += 1
        runner = self._runner
        try:
            if runner is None or not self._active:
                raise StreamError("the policy is not active", "activate the node")
            observation = self._observer.observe(tick_ns)
        except StreamError as error:
            self._on_stale(tick_ns, error)
            return
        observed = time.monotonic()
        rows = runner.act(observation, self._committed(tick_ns))
        acted = time.monotonic()
        if not self._active:
            return
        latency_s, inference_s = acted - began, acted - observed
        capture_s = max((age_ns * 1e-9 for key, age_ns in observation.ages_ns.items() if "." in key), default=0.0)
        chunk = ActionChunk(
            observation_stamp=Time(sec=tick_ns // 10**9, nanosec=tick_ns % 10**9),
            sequence=self._chunks,
            source="policy",
            fingerprint=self._fingerprint,
            period_s=1.0 / self.embodiment.policy.rate_hz,
            names=list(self.embodiment.chunk_names),
            rows=rows.astype(float).ravel().tolist(),
            latency_s=latency_s,
            inference_s=inference_s,
            capture_age_s=capture_s,
        )
        chunk.header.stamp = self.get_clock().now().to_msg()
        self._chunk_publisher.publish(chunk)
        if self._commitment:
            self._commitment.publish(tick_ns, rows)
        if self._files:
            self._files.save(observation)
        self._chunks += 1
        self._latency_s.add(latency_s)
        self._stages.add({"capture": capture_s, "observation": observed - began, "inference": inference_s})
        self._ages_ms = {key: age_ns / 1e6 for key, age_ns in observation.ages_ns.items()}
        if self._said.state != "RUNNING":
            self.get_logger().info("all streams are fresh: publishing chunks")
        self._said = _Said(tick_ns, "RUNNING", "")

    def _on_stale(self, tick_ns: int, error: StreamError) -> None:
        if self._chunks:
            self._stale_ticks += 1
        state = "STALE" if self._chunks else "WAITING"
        if (state, error.message) != self._said[1:]:
            self.get_logger().warning(f"no observation: {error.message}", throttle_duration_sec=1.0)
        self._said = _Said(tick_ns, state, error.message)
        self._publish_status()  # the commander stops the arm on it

    def _publish_status(self) -> None:
        if self._files and self._files.missed:
            text = f"save_observations: {self._files.missed} could not be written; is the disk full or slow?"
            self.get_logger().warning(text, throttle_duration_sec=5.0)
        said, late = self._said, self._observer.late_samples
        status = PolicyStatus(
            state=said.state,
            reason=said.reason,
            checkpoint=self._checkpoint_name,
            ticks=self._ticks,
            stale_ticks=self._stale_ticks,
            chunks=self._chunks,
            rate_hz=self._latency_s.rate_hz(),
            latency_p50_ms=self._latency_s.percentile(50) * 1e3,
            latency_p99_ms=self._latency_s.percentile(99) * 1e3,
            streams=list(self._ages_ms),
            ages_ms=list(self._ages_ms.values()),
            stages=list(self._stages.stages),
            stage_p50_ms=self._stages.percentiles_ms(50),
            stage_p99_ms=self._stages.percentiles_ms(99),
            late_samples=[late.get(key, 0) for key in self._ages_ms],
        )
        set_time(status.header.stamp, said.tick_ns)
        self._status_publisher.publish(status)
        self._diagnostics.publish(status)

    def close(self) -> None:
        self._stop.set()
        self._worker.join(timeout=2.0)
        if self._files:
            self._files.close()


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run hpt_ros policy_node`."""
    keep_all_blocks()
    return run_node(PolicyNode, args)


if __name__ == "__main__":
    sys.exit(main())
