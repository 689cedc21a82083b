"""`hpt-ros teleop`: the terminal as a teleoperation device, or a view of another device."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpt_ros.bringup.attach import join, require_ros
from hpt_ros.cli.keys import END, SUSPEND, TERMINATE, RepeatFilter, TerminalKeys
from hpt_ros.cli.output import console
from hpt_ros.configuration import check
from hpt_ros.recording.operator_keys import INTERRUPT
from hpt_ros.teleop.config import Device, load_device
from hpt_ros.teleop.keyboard import LEGEND, Keyboard

if TYPE_CHECKING:
    from hpt_ros.nodes.session import Session

_PERIOD_S = 1 / 30
_LINE_PERIOD_S = 0.2
_QUIT = ("q", INTERRUPT, TERMINATE, END)
_WISHES = {"e": "engage", "p": "hold", "c": "resume", "x": "disengage"}


def teleop(
    device: Annotated[
        str, typer.Option(help="Preset (keyboard, spacemouse, joy, leader, pose, hand) or YAML file.")
    ] = ("keyboard"),
    domain: Annotated[int | None, typer.Option(help="ROS domain; default: ROS_DOMAIN_ID, else 0.")] = None,
) -> None:
    """Move the arm with the keys of this terminal, over SSH too; for another device: show its state, engage and hold.

    Beside it run `hpt-ros up teleop device:=DEVICE` and a robot or `hpt-ros sim`.
    """
    require_ros()
    chosen = load_device(device)
    check(sys.stdin.isatty(), "standard input", "no terminal", "a terminal", "run it in a terminal (ssh -t over SSH)")
    from hpt_ros.nodes.session import Session

    with Session(domain_id=join(domain)) as session, HeldKeys() as keys:
        console.print(LEGEND if chosen.device == "keyboard" else "e engage   p hold   c resume   x let go   q quit")
        Desk(session, chosen).run(keys)
    console.print()


class HeldKeys(TerminalKeys):
    """Every repeat of a key counts: that it repeats is how a terminal says that it is held down."""

    def __init__(self) -> None:
        super().__init__()
        self._repeats = RepeatFilter(0.0)


class Desk:
    """One person at one terminal: keys in, device messages and wishes out, a line of state on the screen."""

    def __init__(self, session: Session, device: Device) -> None:
        from std_srvs.srv import Trigger

        from hpt_ros.msg import TeleopStatus
        from hpt_ros.nodes.runtime import RELIABLE_10

        self._session, self._device = session, device
        self._keyboard = Keyboard(device.speed) if device.device == "keyboard" else None
        self._status: Any = None
        self._said = ""
        self._line_s = 0.0
        node = session.node
        node.create_subscription(TeleopStatus, "/hpt_ros/teleop/status", self._on_status, RELIABLE_10)
        self._trigger = Trigger
        self._wishes = {key: node.create_client(Trigger, f"/hpt_ros/commander/{_WISHES[key]}") for key in _WISHES}
        if self._keyboard:
            self._make_publishers()

    def _make_publishers(self) -> None:
        from geometry_msgs.msg import TwistStamped
        from sensor_msgs.msg import Joy

        from hpt_ros.nodes.runtime import RELIABLE_10

        twist, buttons = self._device.twist, self._device.buttons
        assert twist is not None, "checked by Device"
        assert buttons is not None, "the keyboard's preset has buttons"
        self._indices = buttons.indices
        self._make_twist, self._make_joy = TwistStamped, Joy
        self._twists = self._session.node.create_publisher(TwistStamped, twist.topic, RELIABLE_10)
        self._buttons = self._session.node.create_publisher(Joy, buttons.topic, RELIABLE_10)

    def _on_status(self, message: Any) -> None:
        self._status = message

    def run(self, keys: TerminalKeys) -> None:
        """Until the person quits or the terminal is gone; without this process the device is silent and the arm stops."""
        due_s = time.monotonic()
        while True:
            due_s += _PERIOD_S
            for key in keys.read(max(0.0, due_s - time.monotonic())):
                if key in _QUIT:
                    return
                if key == SUSPEND:
                    keys.suspend()
                self._take(key)
            now_s = time.monotonic()
            if now_s < due_s:
                due_s -= _PERIOD_S  # a key came before the period was over: it is not sent early
                continue
            due_s = max(due_s, now_s - _PERIOD_S)
            if self._keyboard:
                self._publish(self._keyboard, now_s)
            if now_s - self._line_s > _LINE_PERIOD_S:
                self._show(now_s)

    def _take(self, key: str) -> None:
        if key in self._wishes:
            self._ask(key)
        elif self._keyboard:
            self._keyboard.press(key, time.monotonic())

    def _ask(self, key: str) -> None:
        """Call a service of the commander and show its answer when it comes: the keys go on meanwhile."""
        client, wish = self._wishes[key], _WISHES[key]
        if not client.service_is_ready():
            self._said = f"{wish}: the commander does not run"
            return
        self._said = f"{wish} ..."
        client.call_async(self._trigger.Request()).add_done_callback(lambda future: self._answered(wish, future))

    def _answered(self, wish: str, future: Any) -> None:
        answer = future.result()
        self._said = "" if answer.success else f"{wish} refused: {answer.message}"

    def _publish(self, keyboard: Keyboard, now_s: float) -> None:
        stamp = self._session.node.get_clock().now().to_msg()
        twist, joy = self._make_twist(), self._make_joy()
        twist.header.stamp = joy.header.stamp = stamp
        values = keyboard.deflections(now_s).tolist()
        for part, numbers in ((twist.twist.linear, values[:3]), (twist.twist.angular, values[3:])):
            part.x, part.y, part.z = numbers
        down = keyboard.actions(now_s)
        joy.buttons = [0] * (max(self._indices.values()) + 1)
        for action, index in self._indices.items():
            joy.buttons[index] = int(action in down)
        self._buttons.publish(joy)
        self._twists.publish(twist)

    def _show(self, now_s: float) -> None:
        self._line_s = now_s
        commander = self._session.latest.get("commander")
        parts = [f"commander {commander.state if commander else 'absent'}"]
        if status := self._status:
            parts += [f"{status.device} {status.state}", status.reason, f"{status.frame} x{status.scale:.2f}"]
            parts += ["gripper closed" if status.gripper_closed else "gripper open", *status.limited_by]
        else:
            parts.append("no teleoperation node: hpt-ros up teleop device:=...")
        if self._keyboard and self._keyboard.steps:
            parts.append("steps")
        text = "   ".join(part.replace("\n", " ") for part in (*parts, self._said) if part)
        sys.stderr.write(f"\r\x1b[K{text[: console.width - 1]}")
        sys.stderr.flush()
