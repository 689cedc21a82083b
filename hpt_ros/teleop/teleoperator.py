"""From a person's device to chunks of joint targets: clutch, silence, refusals, gripper, home. No ROS, no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.configuration import check
from hpt_ros.embodiment import Embodiment
from hpt_ros.teleop.arm_view import ArmView, Commanded
from hpt_ros.teleop.config import Device
from hpt_ros.teleop.constraints import Constraints
from hpt_ros.teleop.decode import DeviceRefused
from hpt_ros.teleop.ik import DifferentialIK, Motion
from hpt_ros.teleop.pilots import Intent, LeaderPilot, Pilot, PosePilot, Settings, TwistPilot, homeward
from hpt_ros.teleop.rows import Target
from hpt_ros.teleop.state_machine import Event, State, after

Array = NDArray[np.float64]

_SCALE_STEP, _SCALE_LEAST = 1.5, 0.05
_BLOCKED_RAD_S, _BLOCKED_S = 0.01, 1.0  # on the way home
_LONGEST_STEP_S = 0.1
_LET_GO = "let go, then take hold again"
_CLOSE_BELOW, _OPEN_ABOVE = 0.4, 0.6  # of a leader's gripper


@dataclass
class _Stream:
    """One topic of the device: when it was heard last, why a message was refused.

    A refusal stands until a tick has seen it: several messages may come between two ticks.
    """

    topic: str
    heard_s: float | None = None
    refusal: str = ""
    seen: bool = True

    def hear(self, now_s: float, refusal: str = "") -> None:
        self.heard_s = now_s
        if refusal or self.seen:
            self.refusal, self.seen = refusal, not refusal


class Teleoperator:
    """One device and one arm. Times are seconds of one monotonic clock; calls come from one thread.

    Raises:
        ConfigError: the device does not fit the arm.
    """

    def __init__(self, embodiment: Embodiment, device: Device) -> None:
        self.device, self.arm = device, ArmView(embodiment)
        self.state, self.reason = State.WAITING, "start-up"
        self.settings = Settings(device.frame, device.speed.scale)
        self.limited_by: tuple[str, ...] = ()
        self.wanted_width_m: float | None = None
        self._embodiment = embodiment
        self._home_rad = np.array(embodiment.home_rad)
        self._constraints = Constraints(embodiment.safety)
        self._target = Target(DifferentialIK(self._constraints), embodiment.policy, device.reach_s)
        self.pilot = self._make_pilot()
        self._streams = {"motion": _Stream(_motion_topic(device))}
        if device.buttons:
            self._streams["buttons"] = _Stream(device.buttons.topic)
        if device.leader and device.leader.gripper_topic:
            self._streams["gripper"] = _Stream(device.leader.gripper_topic)
        self._held: frozenset[str] | None = None
        self._home_speed = device.speed.home_fraction * self._constraints.velocity
        self._homing, self._moved_home_s = False, 0.0
        self._held_tool = False  # whether the pilot has begun
        self._tick_s: float | None = None

    def _make_pilot(self) -> Pilot:
        device = self.device
        if device.pose:
            return PosePilot(device, device.pose)
        if device.leader:
            arm = len(self._embodiment.joints.names)
            found = list(device.leader.names)
            check(len(found) == arm, "leader.names", found, f"{arm} names, one per joint of the arm")
            return LeaderPilot(device.leader, self._embodiment.joints.names, self._constraints.velocity)
        return TwistPilot(device, self._home_rad)

    # The device

    def on_motion(self, value: Array, now_s: float) -> None:
        """The newest deflections (6,), pose (4, 4) or leader angles (7,), as the device's pilot takes them."""
        assert isinstance(self.pilot, (TwistPilot, PosePilot, LeaderPilot))
        refusal = ""
        try:
            self.pilot.take(value)
        except DeviceRefused as error:
            refusal = str(error)
        self._streams["motion"].hear(now_s, refusal)

    def on_buttons(self, held: frozenset[str], now_s: float) -> None:
        """The actions whose buttons are held. What is held already at the first message is not a press."""
        self._streams["buttons"].hear(now_s)
        pressed = held - self._held if self._held is not None else frozenset()
        self._held = held
        if pressed:
            self._homing = False  # any button interrupts
        if self.state in (State.FREE, State.ACTIVE):
            for action in sorted(pressed):
                self._press(action)

    def on_opening(self, share: float, now_s: float) -> None:
        """How far a leader holds its gripper open: 0 to 1."""
        if "gripper" in self._streams:
            self._streams["gripper"].hear(now_s)
        if self._embodiment.gripper and not _CLOSE_BELOW <= share <= _OPEN_ABOVE:
            self.wanted_width_m = self._embodiment.gripper.max_width_m if share > _OPEN_ABOVE else 0.0

    def refuse(self, stream: str, reason: str, now_s: float) -> None:
        """A message of the "motion", "buttons" or "gripper" stream that cannot be followed; a good one of the same stream makes up for it."""
        self._streams[stream].hear(now_s, reason)

    def _press(self, action: str) -> None:
        scale, gripper = self.settings.scale, self._embodiment.gripper
        if action == "gripper" and gripper and self.wanted_width_m is not None:
            self.wanted_width_m = 0.0 if self._opens(self.wanted_width_m) else gripper.max_width_m
        elif action == "home":
            self._homing, self._moved_home_s = True, self._streams["buttons"].heard_s or 0.0
        elif action == "frame":
            self.settings = Settings("tool" if self.settings.frame == "base" else "base", scale)
        elif action in ("faster", "slower"):
            factor = _SCALE_STEP if action == "faster" else 1 / _SCALE_STEP
            self.settings = Settings(self.settings.frame, min(1.0, max(_SCALE_LEAST, scale * factor)))

    # The tick

    def tick(self, now_s: float) -> Array | None:
        """The rows (R, A) of a chunk whose observation is now; None: send nothing."""
        step_s = min(now_s - self._tick_s, _LONGEST_STEP_S) if self._tick_s is not None else 0.0
        self._tick_s = now_s
        self.limited_by = ()
        commanded, measured = self.arm.commanded(now_s), self.arm.measured(now_s)
        ours = commanded is not None and commanded.source == self.device.source
        if commanded and not ours:
            self._target.restart(commanded.q)
        if self._homing:
            self._watch_home(commanded, now_s)
        self._decide(now_s, self._target.q if commanded else measured)
        for stream in self._streams.values():
            stream.seen = True
        moving = self.pilot.advance(self.state is State.ACTIVE and not self._homing, self.settings, step_s)
        if not ours:
            self._follow_gripper(commanded)
        if commanded is None or measured is None or self._keeps_silent(ours):
            return None
        return self._with_gripper(self._rows(measured, moving, step_s))

    def _keeps_silent(self, ours: bool) -> bool:
        """Whether the arm is left to others: there is no device, or the person has let go and the arm has come to rest."""
        if self._streams["motion"].heard_s is None:
            return True
        coming_to_rest = ours and not self._target.at_rest
        return self.device.when_free == "yield" and self.state is not State.ACTIVE and not coming_to_rest

    def _decide(self, now_s: float, q: Array | None) -> None:
        """One step of the state machine."""
        event, self.reason = self._event(now_s, q)
        if event is not None:
            self.state = after(self.state, event)
        if self.state not in (State.FREE, State.ACTIVE):
            self._homing = False
        if self.state is not State.ACTIVE or self._homing:
            self._held_tool = False
        elif not self._held_tool and q is not None:
            self.pilot.begin(q, self.settings)
            self._held_tool = True

    def _event(self, now_s: float, q: Array | None) -> tuple[Event | None, str]:
        if refusal := next((s.refusal for s in self._streams.values() if s.refusal), ""):
            return Event.REFUSE, refusal
        if silence := self._silence(now_s):
            self._held = None
            if isinstance(self.pilot, PosePilot):
                self.pilot.forget()
            return Event.SILENCE, silence
        hindrance = self.arm.hindrance(now_s)
        if q is None:
            return Event.UNFOLLOWED, hindrance
        try:
            intent = self.pilot.intent(self._deadman(), q, self.state is State.ACTIVE)
        except DeviceRefused as error:
            return Event.REFUSE, str(error)
        return self._wish(intent, hindrance)

    def _wish(self, intent: Intent, hindrance: str) -> tuple[Event | None, str]:
        """What the person's intent means in the present state."""
        if intent.moved or self._deadman() is False:
            self._homing = False
        remedy = f"{hindrance}: {_LET_GO}" if hindrance else _LET_GO
        if self.state not in (State.FREE, State.ACTIVE):
            return (Event.NEUTRAL, hindrance) if intent.neutral else (None, remedy)
        if not (intent.drive or self._homing) or (hindrance and intent.neutral):
            self._homing = False
            return Event.NEUTRAL, hindrance
        if hindrance:
            return Event.UNFOLLOWED, remedy
        return Event.DRIVE, "returning home" if self._homing else ""

    def _deadman(self) -> bool | None:
        if self.device.buttons is None or self.device.buttons.deadman is None:
            return None
        return self._held is not None and "deadman" in self._held

    def _silence(self, now_s: float) -> str:
        """Which needed topic is silent; empty if none is."""
        needed = ["motion", *(["buttons"] if self._deadman() is not None else [])]
        for stream in (self._streams[name] for name in needed):
            if stream.heard_s is None:
                return f"nothing received on {stream.topic}"
            age_s = now_s - stream.heard_s
            if age_s > self.device.timeout_s:
                return f"{stream.topic}: silent for {age_s:.2f} s, allowed: {self.device.timeout_s:g} s"
        return ""

    @property
    def gripper_closed(self) -> bool:
        """Whether the person wants the gripper closed."""
        return self.wanted_width_m is not None and not self._opens(self.wanted_width_m)

    def input_age_s(self, now_s: float) -> float | None:
        """Since the newest message of the motion topic; None before the first."""
        heard_s = self._streams["motion"].heard_s
        return None if heard_s is None else now_s - heard_s

    # Rows

    def _rows(self, measured: Array, moving: bool, step_s: float) -> Array:
        if not moving and not self._homing and self._target.at_rest:
            return self._target.held()
        window = (measured - self.device.max_lag_rad, measured + self.device.max_lag_rad)
        wanted = self._homeward if self._homing else self.pilot.motion if moving else None
        if step_s > 0:
            self.limited_by = self._target.advance(wanted, step_s, window)
        return self._target.rows(wanted, window)

    def _with_gripper(self, rows: Array) -> Array | None:
        if self._embodiment.gripper is None:
            return rows
        if self.wanted_width_m is None:
            return None
        return np.column_stack([rows, np.full(len(rows), self.wanted_width_m)])

    def _opens(self, width_m: float) -> bool:
        gripper = self._embodiment.gripper
        return gripper is not None and width_m > gripper.max_width_m / 2

    def _follow_gripper(self, commanded: Commanded | None) -> None:
        """While somebody else commands, what is wanted is what is."""
        width_m = commanded.width_m if commanded else None
        self.wanted_width_m = self.arm.width_m if width_m is None else width_m

    # Home

    def _homeward(self, q: Array, ahead_s: float) -> Motion:
        return homeward(q, self._home_rad, self._home_speed) or Motion(joints=np.zeros_like(q))

    def _watch_home(self, commanded: Commanded | None, now_s: float) -> None:
        """End the way home where it ends: there, or before something that the arm must not pass."""
        if commanded is None or homeward(commanded.q, self._home_rad, self._home_speed) is None:
            self._homing = False
        elif np.abs(commanded.dq).max() > _BLOCKED_RAD_S:
            self._moved_home_s = now_s
        elif now_s - self._moved_home_s > _BLOCKED_S:
            self._homing = False


def _motion_topic(device: Device) -> str:
    source = device.twist or device.axes or device.pose or device.leader
    assert source is not None, "not hand-guiding"
    return source.topic
