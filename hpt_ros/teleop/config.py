"""The settings of one device: where its messages come from, what they mean, how fast they may move the arm."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hpt_ros.configuration import check
from hpt_ros.presets import load_preset, preset_names

MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")
ACTIONS = ("deadman", "gripper", "home", "frame", "faster", "slower")


@dataclass(frozen=True)
class TwistSource:
    """`geometry_msgs/Twist`, or `TwistStamped` if `stamped`; 1 is full deflection. Below `dead_zone` a component counts as 0."""

    topic: str
    stamped: bool = False
    dead_zone: float = 0.05

    def __post_init__(self) -> None:
        _check_dead_zone(self.dead_zone)


@dataclass(frozen=True)
class Axis:
    """One axis or button of a joystick, added to the motion `to` as `scale` times its value."""

    to: Literal["x", "y", "z", "roll", "pitch", "yaw"]
    axis: int | None = None
    button: int | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        check((self.axis is None) != (self.button is None), "axis", self.axis, "an axis or a button, not both")
        index = self.axis if self.axis is not None else self.button
        check(index is not None and 0 <= index < 64, "axis", index, "0 to 63")
        check(0 < abs(self.scale) <= 1, "scale", self.scale, "-1 to 1, not 0")


@dataclass(frozen=True)
class AxesSource:
    """`sensor_msgs/Joy` whose axes are the motion; `count` is the number of axes that the device has."""

    topic: str
    count: int
    axes: tuple[Axis, ...]
    dead_zone: float = 0.1

    def __post_init__(self) -> None:
        _check_dead_zone(self.dead_zone)
        highest = max((a.axis for a in self.axes if a.axis is not None), default=-1)
        check(bool(self.axes), "axes", [], "at least one axis")
        check(highest < self.count, "count", self.count, f"above the highest axis that is used ({highest})")


@dataclass(frozen=True)
class PoseSource:
    """`geometry_msgs/PoseStamped` of a hand-held tracker; motion counts from the moment the clutch closes.

    `device_to_base_wxyz` turns the tracker's frame into the robot's base frame. A jump of more than `max_jump_m` or
    `max_jump_rad` between two messages is a lost tracker: the clutch must be closed again.
    """

    topic: str
    device_to_base_wxyz: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    position_scale: float = 1.0
    rotation_scale: float = 1.0
    max_jump_m: float = 0.1
    max_jump_rad: float = 0.6

    def __post_init__(self) -> None:
        norm = math.hypot(*self.device_to_base_wxyz)
        check(abs(norm - 1) < 1e-3, "device_to_base_wxyz", list(self.device_to_base_wxyz), "a unit quaternion, w first")
        check(0 < self.position_scale <= 5, "position_scale", self.position_scale, "above 0, at most 5")
        check(0 <= self.rotation_scale <= 2, "rotation_scale", self.rotation_scale, "0 to 2")
        check(self.max_jump_m > 0, "max_jump_m", self.max_jump_m, "> 0")
        check(self.max_jump_rad > 0, "max_jump_rad", self.max_jump_rad, "> 0")


@dataclass(frozen=True)
class LeaderSource:
    """`sensor_msgs/JointState` of a leader arm; arm joint i is at `signs[i] * position + offsets_rad[i]`.

    The arm follows only while no joint is more than `mismatch_rad` from the leader, and speeds up over `ramp_s`. The
    gripper is a joint of the leader between `gripper_closed` and `gripper_open`, or a `std_msgs/Float32` from 0 (closed) to 1.
    """

    topic: str
    names: tuple[str, ...]
    signs: tuple[float, ...]
    offsets_rad: tuple[float, ...]
    mismatch_rad: float = 0.4
    ramp_s: float = 2.0
    gripper_joint: str = ""
    gripper_closed: float = 0.0
    gripper_open: float = 1.0
    gripper_topic: str = ""

    def __post_init__(self) -> None:
        count = len(self.names)
        check(bool(count) and len(set(self.names)) == count, "names", list(self.names), "names that differ")
        check(len(self.signs) == count, "signs", list(self.signs), f"{count} signs, one per name")
        check(all(abs(s) == 1 for s in self.signs), "signs", list(self.signs), "1 or -1")
        check(len(self.offsets_rad) == count, "offsets_rad", list(self.offsets_rad), f"{count} offsets, one per name")
        check(0 < self.mismatch_rad <= 1, "mismatch_rad", self.mismatch_rad, "above 0, at most 1")
        check(0 <= self.ramp_s <= 10, "ramp_s", self.ramp_s, "0 to 10")
        check(self.gripper_open != self.gripper_closed, "gripper_open", self.gripper_open, "not gripper_closed")
        both = bool(self.gripper_joint and self.gripper_topic)
        check(not both, "gripper_topic", self.gripper_topic, "empty beside gripper_joint")


@dataclass(frozen=True)
class Buttons:
    """`sensor_msgs/Joy` with the index of the button for each action. With a `deadman` nothing moves unless it is held.

    `gripper` toggles, `home` returns to the embodiment's home, `frame` switches between base and tool, `faster` and `slower`
    change the scale.
    """

    topic: str
    deadman: int | None = None
    gripper: int | None = None
    home: int | None = None
    frame: int | None = None
    faster: int | None = None
    slower: int | None = None

    def __post_init__(self) -> None:
        for action, index in self.indices.items():
            check(0 <= index < 64, action, index, "0 to 63")
        indices = list(self.indices.values())
        check(len(set(indices)) == len(indices), "buttons", self.indices, "a button of its own for every action")

    @property
    def indices(self) -> dict[str, int]:
        """Button by action, of those that are mapped."""
        return {action: index for action in ACTIONS if (index := getattr(self, action)) is not None}


@dataclass(frozen=True)
class Speed:
    """Full speed [m/s, rad/s] and how fast it is reached [m/s^2, rad/s^2]; the scale multiplies the speeds."""

    linear_m_s: float = 0.2
    angular_rad_s: float = 0.8
    linear_m_s2: float = 0.6
    angular_rad_s2: float = 2.5
    scale: float = 1.0
    home_fraction: float = 0.5

    def __post_init__(self) -> None:
        for name, most in (
            ("linear_m_s", 1.0),
            ("angular_rad_s", 2.5),
            ("linear_m_s2", 10.0),
            ("angular_rad_s2", 50.0),
        ):
            check(0 < getattr(self, name) <= most, name, getattr(self, name), f"above 0, at most {most:g}")
        check(0.05 <= self.scale <= 1, "scale", self.scale, "0.05 to 1")
        check(0 < self.home_fraction <= 1, "home_fraction", self.home_fraction, "above 0, at most 1")


@dataclass(frozen=True)
class Device:
    """One device. At most one of `twist`, `axes`, `pose` and `leader`; none is hand-guiding, where nothing is commanded.

    Silence longer than `timeout_s` is zero motion. With `when_free: hold` the arm is held while the person lets go, with
    `yield` nothing is sent then, so that a policy may go on. `max_lag_rad` bounds how far the targets may be ahead of the
    measured joints.
    """

    device: Literal["spacemouse", "joy", "keyboard", "leader", "pose", "hand"]
    twist: TwistSource | None = None
    axes: AxesSource | None = None
    pose: PoseSource | None = None
    leader: LeaderSource | None = None
    buttons: Buttons | None = None
    speed: Speed = field(default_factory=Speed)
    frame: Literal["base", "tool"] = "base"
    when_free: Literal["hold", "yield"] = "hold"
    timeout_s: float = 0.15
    reach_s: float = 0.2
    max_lag_rad: float = 0.2
    posture_gain_1_s: float = 1.0
    driver: str = ""

    def __post_init__(self) -> None:
        sources = [name for name in ("twist", "axes", "pose", "leader") if getattr(self, name) is not None]
        wanted = "none" if self.device == "hand" else "exactly one of twist, axes, pose, leader"
        check(len(sources) == (self.device != "hand"), "device", [self.device, *sources], wanted)
        deadman = self.buttons is not None and self.buttons.deadman is not None
        check(self.pose is None or deadman, "buttons.deadman", None, "the button that is the clutch of a pose device")
        home = self.buttons is not None and self.buttons.home is not None
        check(not (self.leader and home), "buttons.home", "a button", "none: the leader says where the arm is")
        check(0.02 <= self.timeout_s <= 1, "timeout_s", self.timeout_s, "0.02 to 1")
        check(0.05 <= self.reach_s <= 0.5, "reach_s", self.reach_s, "0.05 to 0.5")
        check(0.02 <= self.max_lag_rad <= 0.5, "max_lag_rad", self.max_lag_rad, "0.02 to 0.5")
        check(0 <= self.posture_gain_1_s <= 3, "posture_gain_1_s", self.posture_gain_1_s, "0 to 3")

    @property
    def source(self) -> str:
        """Of its chunks."""
        return f"teleop:{self.device}"


def devices() -> list[str]:
    """Names that `load_device` knows without a path."""
    return preset_names("teleop")


def load_device(name_or_path: str | Path) -> Device:
    """The device of a preset (`spacemouse`) or of a YAML file.

    Raises:
        ConfigError: no such preset or file, or a value in it that cannot be accepted.
    """
    return load_preset(Device, "teleop", name_or_path, "device")


def _check_dead_zone(value: float) -> None:
    check(0 <= value < 0.9, "dead_zone", value, "0 to 0.9")
