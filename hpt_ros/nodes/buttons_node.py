"""Buttons of a joystick or pedal -> the recorder's services, for a person whose hands are on the arm."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Joy
from std_srvs.srv import Trigger

from hpt_ros.configuration import check
from hpt_ros.msg import EpisodeStatus
from hpt_ros.nodes.runtime import RELIABLE_10, HptNode, LateSubscriptions, run_node
from hpt_ros.recording.operator import Event, Notice, Operator, Request, State
from hpt_ros.recording.operator_buttons import BUTTONS, RisingEdges
from hpt_ros.recording.operator_keys import meanings
from hpt_ros.srv import StartEpisode, StopEpisode

_MAX_SILENCE_S = 2.0  # of the recorder's status, which comes at 2 Hz
_ANSWER_TIMEOUT_S = 30.0  # stop forces the whole bag to the disk
_SERVICES = {
    Request.START: StartEpisode,
    Request.STOP: StopEpisode,
    Request.DISCARD: Trigger,
    Request.UNDO: Trigger,
}


class ButtonsNode(HptNode):
    """Parameters and wiring: Joy -> rising edges -> Operator -> services of the recorder. Publishes nothing.

    Parameters: joy_topic; buttons.start, .success, .partial, .fail, .discard, .redo, .undo (index, -1: none; the same
    button may start and stop); task, instruction (empty: those of the last episode), operator.
    """

    def __init__(self) -> None:
        super().__init__("buttons_node")
        topic = self.declare_parameter("joy_topic", "/joy").value
        check(bool(topic), "joy_topic", topic, "the name of a sensor_msgs/msg/Joy topic")
        buttons = {e: self.declare_parameter(f"buttons.{e.value}", index).value for e, index in BUTTONS.items()}
        self._meanings = _meanings(buttons)
        self._task = self.declare_parameter("task", "").value
        self._instruction = self.declare_parameter("instruction", "").value
        self._person = self.declare_parameter("operator", "").value
        self._operator = Operator()
        self._edges = RisingEdges()
        self._status: Any = None
        self._heard_s = self._sent_s = 0.0
        self._answer: Any = None
        self._calls = {r: self.create_client(kind, f"/hpt_ros/recorder/{r.value}") for r, kind in _SERVICES.items()}
        self.create_subscription(EpisodeStatus, "/hpt_ros/recorder/status", self._on_status, RELIABLE_10)
        self.create_timer(0.5, self._on_timer)
        self._inputs = LateSubscriptions(self)
        self._inputs.add(topic, Joy, self._on_joy, 10)

    def _on_status(self, status: Any) -> None:
        self._status, self._heard_s = status, time.monotonic()
        self._tell(self._operator.follow(status, self._heard_s))

    def _on_joy(self, raw: bytes) -> None:
        now_s = time.monotonic()
        for index in self._edges.update(deserialize_message(raw, Joy).buttons, now_s):
            event = self._meanings.get((self._operator.state, index))
            if event is None:
                continue
            if now_s - self._heard_s > _MAX_SILENCE_S:
                self.get_logger().error(f"{event.value}: no status of the recorder for {_MAX_SILENCE_S:g} s")
            elif self._operator.request:
                self.get_logger().warning(f"{event.value} ignored: {self._operator.request.value} is not answered yet")
            else:
                self._tell(self._operator.press(event))
                self._send()

    def _send(self) -> None:
        if (request := self._operator.request) is None:
            return
        client = self._calls[request]
        if request is Request.START and not (self._task or self._status.task):
            self._tell(self._operator.refused("no task: give the parameter task, or record one episode by its name"))
            return
        if not client.service_is_ready():
            self._tell(self._operator.refused(f"no service {client.srv_name}"))
            return
        self._sent_s = time.monotonic()
        self._answer = client.call_async(self._content(request))
        self._answer.add_done_callback(self._on_answer)

    def _content(self, request: Request) -> Any:
        if request is Request.START:
            return StartEpisode.Request(
                task=self._task or self._status.task,
                instruction=self._instruction or ("" if self._task else self._status.instruction),
                operator_name=self._person,
                episodes_target=self._status.episodes_target,
            )
        if request is Request.STOP:
            return StopEpisode.Request(score=self._operator.score, termination="operator")
        return Trigger.Request()

    def _on_answer(self, future: Any) -> None:
        if future is not self._answer or future.cancelled():
            return
        self._answer, response = None, future.result()
        if response.success:
            path = getattr(response, "path", "")
            self._tell(self._operator.granted(path, response.message, time.monotonic()))
            self._send()
        else:
            self._tell(self._operator.refused(response.message))

    def _on_timer(self) -> None:
        if self._answer is not None and time.monotonic() - self._sent_s > _ANSWER_TIMEOUT_S:
            self._answer.cancel()
            self._answer = None
            self._tell(self._operator.refused(f"no answer in {_ANSWER_TIMEOUT_S:g} s"))

    def _tell(self, notices: list[Notice]) -> None:
        for notice in notices:
            self.get_logger().info(f"{notice.outcome.value}: {notice.text}")


def _meanings(buttons: Mapping[Event, int]) -> dict[tuple[State, int], Event]:
    for event, index in buttons.items():
        check(index >= -1, f"buttons.{event.value}", index, "the index of a button, or -1 for none")
    return meanings({event: (index,) for event, index in buttons.items() if index >= 0})


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(ButtonsNode, args)


if __name__ == "__main__":
    sys.exit(main())
