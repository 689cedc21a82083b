"""A rehearsal without a person: the stand-in and the commander as processes, chunks from here, and what came of them."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from lateness import Lateness

from hpt_ros.control.horizon import LEAD_TICKS
from hpt_ros.control.robot_health import MODES
from hpt_ros.embodiment import Embodiment, embodiment_to, fingerprint, load_embodiment

WAIT_S = 60.0
ATTEMPTS = 4
Start = Callable[..., "subprocess.Popen[str]"]


def variant(folder: Path, preset: str, **command: Any) -> Path:
    """A preset at rates that a busy machine keeps up with, without cameras, with entries of `command` changed."""
    data = embodiment_to(load_embodiment(preset))
    data["joints"]["timing"] |= {"rate_hz": 200.0, "max_age_s": 1.5}
    data["gripper"]["timing"] |= {"max_age_s": 1.0}
    if data.get("robot_state"):
        data["robot_state"]["max_age_s"] = 2.0
    data["safety"]["policy_timeout_s"] = 2.0
    data["cameras"] = []
    data["command"] |= command
    path = folder / f"{preset}.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


class Rehearsal:
    """A node that plays the policy: it asks for `target` (7,) [rad] and `width_m`, and remembers what it hears."""

    def __init__(self, embodiment: Embodiment, namespace: str = "") -> None:
        import rclpy
        from hpt_ros.msg import ActionChunk, CommanderStatus
        from rcl_interfaces.srv import SetParameters
        from sensor_msgs.msg import JointState
        from std_srvs.srv import Trigger

        from hpt_ros.nodes.messages import message_class
        from hpt_ros.nodes.runtime import RELIABLE_10

        self.embodiment = embodiment
        self.namespace = namespace
        self.node = rclpy.create_node("rehearsal")
        self.status: Any = None
        self.state: Any = None
        self.modes: list[int] = []
        self.target: np.ndarray | None = None
        self.width_m = 0.08
        self.lateness = Lateness()
        self._positions: dict[str, float] = {}
        self._chunks = self.node.create_publisher(ActionChunk, f"{namespace}/hpt_ros/action_chunk", RELIABLE_10)
        self.node.create_subscription(
            CommanderStatus, f"{namespace}/hpt_ros/commander/status", self._on_status, RELIABLE_10
        )
        for part in (embodiment.joints, embodiment.gripper):
            assert part is not None
            self.node.create_subscription(JointState, namespace + part.topic, self._on_joints, RELIABLE_10)
        if contract := embodiment.robot_state:
            kind = message_class(contract.msgtype)
            self.node.create_subscription(kind, namespace + contract.topic, self._on_state, RELIABLE_10)
        self.node.create_timer(1 / embodiment.policy.rate_hz, self._publish_chunk)
        self._clients: dict[str, Any] = {}
        for name in ("engage", "recover_errors", "reset"):  # a service drops the answer to whom it does not know yet
            self._client(Trigger, self._commander(name))
        self._client(SetParameters, self._set_parameters)

    def _on_status(self, message: Any) -> None:
        self.status = message

    def _on_joints(self, message: Any) -> None:
        self._positions.update(zip(message.name, message.position, strict=True))

    def _on_state(self, message: Any) -> None:
        self.state = message
        if message.robot_mode not in self.modes[-1:]:
            self.modes.append(message.robot_mode)

    @property
    def heard(self) -> bool:
        """Whether joints and gripper have been heard."""
        gripper = self.embodiment.gripper
        assert gripper is not None
        return set(self._positions) >= {*self.embodiment.joints.names, *gripper.names}

    @property
    def q(self) -> np.ndarray:
        """Measured joints (7,) [rad]."""
        return np.array([self._positions[name] for name in self.embodiment.joints.names])

    @property
    def measured_width_m(self) -> float:
        """Between the fingers."""
        assert self.embodiment.gripper is not None
        return sum(self._positions[name] for name in self.embodiment.gripper.names)

    def _publish_chunk(self) -> None:
        from hpt_ros.msg import ActionChunk

        if self.target is None:
            return
        message = ActionChunk(
            observation_stamp=self.node.get_clock().now().to_msg(),
            source="policy",
            fingerprint=fingerprint(self.embodiment),
            period_s=1 / self.embodiment.policy.rate_hz,
            names=list(self.embodiment.action_names),
            rows=[*self.target.tolist(), self.width_m] * self.embodiment.policy.action_horizon,
        )
        message.header.stamp = message.observation_stamp
        self._chunks.publish(message)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The answer of a service."""
        client = self._client(kind, name)
        wait_until(client.service_is_ready, name)
        future = client.call_async(request)
        wait_until(future.done, f"an answer of {name}")
        return future.result()

    def _client(self, kind: Any, name: str) -> Any:
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        return self._clients[name]

    def _commander(self, name: str) -> str:
        return f"{self.namespace}/hpt_ros/commander/{name}"

    @property
    def _set_parameters(self) -> str:
        return f"{self.namespace}/standin_node/set_parameters"

    def wish(self, name: str) -> Any:
        """A service of the commander."""
        from std_srvs.srv import Trigger

        return self.call(Trigger, self._commander(name), Trigger.Request())

    def inject(self, **values: Any) -> None:
        """Set parameters of the stand-in."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        answer = self.call(SetParameters, self._set_parameters, request)
        assert all(result.successful for result in answer.results), answer

    def engage(self) -> list[str]:
        """Until the commander has taken the arm over; what it said before."""
        wait_until(lambda: self.status is not None and self.heard, "status and joints")
        answers: list[str] = []

        def engaged() -> bool:
            answer = self.wish("engage")
            answers.append(answer.message)
            return bool(answer.success)

        wait_until(engaged, "engagement", lambda: answers[-1:])
        return answers

    def go(self, target: np.ndarray, view: Callable[[np.ndarray], np.ndarray] = lambda q: q) -> None:
        """Ask for joints (7,) [rad] until the arm is there, as far as `view` tells.

        The robot must not stop by itself on the way, unless this machine was late by more than the motion in hand: again.
        """
        lead_s, seen = LEAD_TICKS / self.embodiment.command.rate_hz, len(self.modes)
        for _ in range(ATTEMPTS):
            self.lateness.worst_s = 0.0
            self.target = target
            wait_until(
                lambda: np.abs(view(self.q) - view(target)).max() < 0.02 or self._stopped(seen),
                "arrival",
                lambda: (self.status.state, self.status.reason, (self.q - target).round(3).tolist()),
            )
            if not self._stopped(seen):
                return
            late_s = self.lateness.worst_s + self.status.lateness_max_ms / 1e3
            assert late_s > lead_s, (
                f"REFLEX, {self.status.reason!r}, on a machine late by {late_s * 1e3:.0f} ms at most"
            )
            self._bring_back()
            del self.modes[seen:]
        raise AssertionError(f"the machine is too busy: late by {late_s * 1e3:.0f} ms")

    def _stopped(self, seen: int) -> bool:
        return MODES.index("REFLEX") in self.modes[seen:]

    def _bring_back(self) -> None:
        """What a person does after an error of the robot."""
        self.target = None
        wait_until(lambda: self.wish("recover_errors").success, "a fault", lambda: self.status.reason)
        wait_until(lambda: "recovered: errors cleared" in self.status.reason, "recovery", lambda: self.status.reason)
        wait_until(lambda: self.wish("reset").success, "reset", lambda: self.status.reason)
        wait_until(lambda: self.modes[-1] == MODES.index("IDLE"), "a robot without error")
        self.engage()


def wait_until(condition: Callable[[], Any], what: str, details: Callable[[], Any] = lambda: "") -> None:
    """Poll, for long: the machine may be busy."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {WAIT_S} s: {details()}"
        time.sleep(0.01)


@contextmanager
def rehearse(domain_id: int, embodiment: Embodiment, namespace: str = "") -> Iterator[Rehearsal]:
    """A rehearsal whose node is spun in a thread."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from hpt_ros.nodes.runtime import make_executor

    rclpy.init(args=[], domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
    rehearsal, stop = Rehearsal(embodiment, namespace), threading.Event()
    executor = make_executor()
    executor.add_node(rehearsal.node)

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield rehearsal
    finally:
        rehearsal.lateness.close()
        stop.set()
        thread.join()
        executor.shutdown()
        rehearsal.node.destroy_node()
        rclpy.try_shutdown()
