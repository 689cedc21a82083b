"""A client of the running nodes: what a person at the robot does, for `hpt-ros record` and `hpt-ros evaluate`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import rclpy
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from hpt_ros.bringup.environment import NAMESPACE_VARIABLE
from hpt_ros.errors import StreamError, WaitError
from hpt_ros.msg import CommanderStatus, EpisodeStatus, PolicyStatus, SimStatus
from hpt_ros.nodes.namespace import NamespacedNode
from hpt_ros.nodes.runtime import RELIABLE_10, make_executor
from hpt_ros.srv import ResetScene, StartEpisode, StopEpisode

_STATUS = {
    "commander": CommanderStatus,
    "recorder": EpisodeStatus,
    "policy": PolicyStatus,
    "sim": SimStatus,
}
_WISHES = [f"/hpt_ros/commander/{wish}" for wish in ("engage", "disengage", "reset")]
_POLL_S = 0.005
_DISCOVERY_S = 0.1
_PATIENCE_S = 5.0
_FIRST_PATIENCE_S = 20.0  # discovery that was lost is sent again every 3 s only, and may be lost again
T = TypeVar("T")


class Session:
    """Latest status of each node, and their services with time-outs; a context manager with its own executor thread.

    `domain_id` None takes ROS_DOMAIN_ID; the nodes' namespace is HPT_ROS_NAMESPACE.
    `check` is called while waiting, so that the death of a process ends the wait at once.
    """

    def __init__(self, check: Callable[[], None] = lambda: None, domain_id: int | None = None) -> None:
        self._check = check
        self._domain_id = domain_id
        self.latest: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self._stop = threading.Event()
        self._began_s = time.monotonic()

    def __enter__(self) -> Session:
        rclpy.init(args=[], domain_id=self._domain_id, signal_handler_options=SignalHandlerOptions.NO)
        self.node = NamespacedNode(
            "hpt_ros_session", namespace=os.environ.get(NAMESPACE_VARIABLE, ""), start_parameter_services=False
        )
        for name, message in _STATUS.items():
            self.node.create_subscription(
                message, f"/hpt_ros/{name}/status", lambda m, n=name: self.latest.__setitem__(n, m), RELIABLE_10
            )
        for name in _WISHES:  # long before they are called: see `call`
            self._client(Trigger, name)
        self._executor = make_executor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="session", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()
        self._clients.clear()
        del self._executor, self.node  # the last reference takes the participant and its shared memory along

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def wait_for(self, what: str, condition: Callable[[], Any], timeout_s: float) -> Any:
        """Poll until `condition` is true and return its value.

        Raises:
            WaitError: it did not become true in time.
        """
        deadline = time.monotonic() + timeout_s
        next_check = 0.0
        while not (value := condition()):
            now = time.monotonic()
            if now > next_check:
                self._check()
                next_check = now + 0.2
            if now > deadline:
                raise WaitError(f"waited {timeout_s:g} s for {what}", "see the logs of the nodes, and hpt-ros doctor")
            time.sleep(_POLL_S)
        return value

    def wait_for_status(self, name: str, timeout_s: float = 30.0) -> Any:
        """The first status message of a node."""
        return self.wait_for(f"/hpt_ros/{name}/status", lambda: self.latest.get(name), timeout_s)

    def call(self, service: Any, name: str, request: Any = None, timeout_s: float = 10.0) -> Any:
        """Call a service and return its response; `request` defaults to an empty one.

        Raises:
            StreamError: no such service or no answer in time, or it answered success=False.
        """
        client = self._client(service, name)
        if not client.service_is_ready():
            self.wait_for(f"service {name}", client.service_is_ready, timeout_s)
            # The service drops the answer to a client that it has not discovered yet itself, which the client cannot
            # see (ros2/rmw_fastrtps#842); Fast DDS waits 0.1 s for it.
            time.sleep(_DISCOVERY_S)
        future = client.call_async(request or service.Request())
        self.wait_for(f"an answer of {name}", future.done, timeout_s)
        response = future.result()
        if not response.success:
            raise StreamError(f"{name} refused: {response.message}")
        return response

    def _client(self, service: Any, name: str) -> Any:
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service, name)
        return self._clients[name]

    def trigger(self, name: str, timeout_s: float = 10.0) -> str:
        """Call a std_srvs/Trigger service and return its message."""
        message: str = self.call(Trigger, name, timeout_s=timeout_s).message
        return message

    def insist(self, request: Callable[[], T], patience_s: float = _PATIENCE_S) -> T:
        """Repeat a request until it is granted: right after a start a node may not see the others yet, the arm may settle.

        Raises:
            StreamError: the refusal that lasted `patience_s`, and until the session was 20 s old.
        """
        deadline = max(time.monotonic() + patience_s, self._began_s + _FIRST_PATIENCE_S)
        while True:
            try:
                return request()
            except StreamError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def engage(self) -> None:
        """Let the commander take the arm over."""
        self.insist(lambda: self.trigger("/hpt_ros/commander/engage"))

    def release(self) -> None:
        """Let the commander let go of a simulated arm, clearing a fault."""
        faulted = self.latest["commander"].state == "FAULT"
        self.trigger("/hpt_ros/commander/reset" if faulted else "/hpt_ros/commander/disengage")

    def reset_scene(self, task: str, seed: int) -> None:
        """Put the simulated scene to the start of `seed` and wait until its status says so."""
        response = self.call(ResetScene, "/hpt_ros/sim/reset", ResetScene.Request(task=task, seed=seed))
        self.wait_for("the scene's reset", lambda: self.latest["sim"].episode == response.episode, 5.0)

    def start_episode(self, task: str, instruction: str, operator_name: str) -> str:
        """Start recording; returns the episode's path."""
        request = StartEpisode.Request(task=task, instruction=instruction, operator_name=operator_name)
        path: str = self.call(StartEpisode, "/hpt_ros/recorder/start", request).path
        return path

    def stop_episode(self, score: float, termination: str, note: str = "") -> str:
        """Stop recording; the bag is complete on disk when this returns its path."""
        request = StopEpisode.Request(score=score, termination=termination, note=note)
        path: str = self.call(StopEpisode, "/hpt_ros/recorder/stop", request, timeout_s=30.0).path
        return path
