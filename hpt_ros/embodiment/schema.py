"""The embodiment: one contract that record, convert, train and serve share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hpt_ros.configuration import check
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment.columns import ABSOLUTE, ActionKind, Column, arm_columns

GRIPPER_NAME = "gripper_width"  # [m], the last entry of state and action
JOINT_STATE = "sensor_msgs/msg/JointState"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
BOOL = "std_msgs/msg/Bool"
COMMAND = "hpt_ros/msg/Command"
LOSSLESS, _JPEG = "lossless", "jpeg:"  # of `Camera.store`
FINGER_BEYOND_TCP_M = 0.0088  # of the Franka Hand, as franka_description draws it
MAX_DEPTH_M = 65.535  # the largest uint16, in millimetres
# The cubics that a trajectory controller puts between our points reach 1.5 times the acceleration of the motion itself.
_MAX_ACCELERATION_FRACTION = 0.65


@dataclass(frozen=True)
class StreamSpec:
    """One topic as the alignment sees it.

    `allowance_ns` is the arrival delay that a tick waits for; a sample older than `max_age_ns` at the tick is stale, and so
    is one whose payload has not changed for `frozen_after_ns` (0: not looked at).
    """

    key: str
    topic: str
    msgtype: str
    rate_hz: float
    max_age_ns: int
    allowance_ns: int
    frozen_after_ns: int = 0


@dataclass(frozen=True)
class Timing:
    """Expected rate [Hz], age budget [s] and arrival allowance [s] of a stream.

    `frozen_after_s`: a payload that has been the same for so long is stale, however new its stamps are; 0 does not look.
    For what never repeats by itself: a real camera's noise does not, a rendered scene or a gripper at rest does.
    """

    rate_hz: float
    max_age_s: float
    allowance_s: float
    frozen_after_s: float = 0.0

    def __post_init__(self) -> None:
        check(self.rate_hz > 0, "rate_hz", self.rate_hz, "> 0")
        check(self.allowance_s >= 0, "allowance_s", self.allowance_s, ">= 0")
        check(self.max_age_s > self.allowance_s, "max_age_s", self.max_age_s, f"> allowance_s ({self.allowance_s})")
        check(self.max_age_s > 1 / self.rate_hz, "max_age_s", self.max_age_s, f"> one period (1 / {self.rate_hz:g} Hz)")
        check(
            self.frozen_after_s == 0 or 3 / self.rate_hz <= self.frozen_after_s <= 10,
            "frozen_after_s",
            self.frozen_after_s,
            f"0 (off), or three periods (3 / {self.rate_hz:g} Hz) to 10",
        )


@dataclass(frozen=True)
class Joints:
    """Arm joints: `sensor_msgs/JointState`, read by name, in the order of `names` [rad]."""

    topic: str
    names: tuple[str, ...]
    timing: Timing

    def __post_init__(self) -> None:
        _check_topic(self.topic)
        _check_names(self.names)


@dataclass(frozen=True)
class Gripper:
    """Fingers: `sensor_msgs/JointState`; the width [m] is the sum of the named positions."""

    topic: str
    names: tuple[str, ...]
    timing: Timing
    max_width_m: float = 0.08

    def __post_init__(self) -> None:
        _check_topic(self.topic)
        _check_names(self.names)
        check(self.max_width_m > 0, "max_width_m", self.max_width_m, "> 0")


@dataclass(frozen=True)
class Camera:
    """One view. `crop_px` is (top, left, height, width) in the received image, applied before the resize to `size_px` (height, width).

    `store`: how demonstrations keep frames. `lossless`, or `jpeg:QUALITY`, whose losses the policy then sees live as well.
    """

    name: str
    topic: str
    transport: Literal["raw", "compressed"]
    size_px: tuple[int, int]
    timing: Timing
    crop_px: tuple[int, int, int, int] | None = None
    store: str = LOSSLESS

    def __post_init__(self) -> None:
        _check_view(self)
        quality = self.store.removeprefix(_JPEG)
        known = self.store == LOSSLESS or (quality != self.store and quality.isdecimal() and 1 <= int(quality) <= 100)
        check(known, "store", self.store, f"{LOSSLESS}, or {_JPEG}1 to {_JPEG}100")

    @property
    def jpeg_quality(self) -> int | None:
        """1 to 100 where the store is lossy."""
        return None if self.store == LOSSLESS else int(self.store.removeprefix(_JPEG))

    @property
    def msgtype(self) -> str:
        """The ROS message type that `transport` implies."""
        return IMAGE if self.transport == "raw" else COMPRESSED_IMAGE


@dataclass(frozen=True)
class DepthCamera:
    """One depth view: `sensor_msgs/Image` in 16UC1 [mm] or 32FC1 [m] (REP 118). `size_px` and `crop_px` are those of `Camera`.

    `range_m` (near, far) is where the sensor measures; it scales what the network sees, not what is stored.
    """

    name: str
    topic: str
    size_px: tuple[int, int]
    range_m: tuple[float, float]
    timing: Timing
    crop_px: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        _check_view(self)
        near, far = self.range_m
        check(0 <= near < far <= MAX_DEPTH_M, "range_m", [near, far], f"[near, far], 0 <= near < far <= {MAX_DEPTH_M}")

    @property
    def msgtype(self) -> str:
        """The ROS message type: compressed depth is not read."""
        return IMAGE


@dataclass(frozen=True)
class Action:
    """What the policy's rows are; each ends with the gripper width [m] if there is a gripper.

    `joint_position`: joint targets [rad]. `joint_delta`: joint targets less the joints measured at the observation [rad].
    `ee_pose`: pose of the tool centre point in the base frame, position [m] and rot6d. `ee_delta`: from its measured pose at
    the observation to its target, translation [m] and rotation vector [rad] in the base frame.
    Whatever the kind, commands are joint targets: they are what is recorded, and what labels are made of.
    """

    kind: ActionKind


@dataclass(frozen=True)
class Policy:
    """Rate of observations and chunk rows [Hz], samples of history, rows per chunk, and how chunks follow each other.

    `receding_horizon` executes `execute_rows` rows before the next chunk takes over; `blend` does so too, and fades from one
    chunk to the next over `blend_s` (with `execute_rows: 1` every chunk takes over as it comes); `temporal_ensemble` averages
    all chunks at every moment with weights `exp(-ensemble_decay_per_s * age)`, and takes the median of their gripper widths.
    """

    rate_hz: float
    observation_horizon: int
    action_horizon: int
    execute_rows: int
    strategy: Literal["receding_horizon", "temporal_ensemble", "blend"] = "receding_horizon"
    blend_s: float = 0.2
    ensemble_decay_per_s: float = 2.0

    def __post_init__(self) -> None:
        check(0 < self.rate_hz <= 100, "rate_hz", self.rate_hz, "above 0, at most 100")
        check(1 <= self.observation_horizon <= 32, "observation_horizon", self.observation_horizon, "1 to 32")
        check(1 <= self.action_horizon <= 256, "action_horizon", self.action_horizon, "1 to 256")
        check(
            1 <= self.execute_rows <= self.action_horizon,
            "execute_rows",
            self.execute_rows,
            f"1 to action_horizon ({self.action_horizon})",
        )
        check(0.01 <= self.blend_s <= 2, "blend_s", self.blend_s, "0.01 to 2")
        check(abs(self.ensemble_decay_per_s) <= 100, "ensemble_decay_per_s", self.ensemble_decay_per_s, "-100 to 100")

    @property
    def period_ns(self) -> int:
        """Time between observations, and between the rows of a chunk."""
        return round(1e9 / self.rate_hz)


@dataclass(frozen=True)
class Command:
    """How commands leave: rate [Hz], the arm's back-end and its topic, the gripper's back-end and its topic or action.

    `frame` is the frame id of commanded poses. `gripper_*`: closing and opening speed [m/s], grasping force [N], for
    `gripper_command` what a metre of width is as a position, and for `franka_actions` whether the first `engage` homes it.
    `unbraked` admits `joint_position` and `joint_velocity` on a real arm, which nothing stops when the commander dies.
    """

    rate_hz: float
    backend: Literal[
        "joint_trajectory", "crisp_joint", "crisp_pose", "multipanda_joint", "joint_position", "joint_velocity"
    ]
    topic: str
    gripper_backend: Literal["topic", "franka_actions", "gripper_command", "none"]
    gripper_topic: str = ""
    record_topic: str = "/hpt_ros/command"
    frame: str = "base"
    gripper_speed_m_s: float = 0.1
    gripper_force_n: float = 20.0
    gripper_position_per_m: float = 0.5
    gripper_homing: bool = False
    unbraked: bool = False

    def __post_init__(self) -> None:
        check(50 <= self.rate_hz <= 500, "rate_hz", self.rate_hz, "50 to 500")
        _check_topic(self.topic)
        _check_topic(self.record_topic, "record_topic")
        if self.gripper_backend != "none":
            _check_topic(self.gripper_topic, "gripper_topic")
        check(0 < self.gripper_speed_m_s <= 0.2, "gripper_speed_m_s", self.gripper_speed_m_s, "above 0, at most 0.2")
        check(0 < self.gripper_force_n <= 70, "gripper_force_n", self.gripper_force_n, "above 0, at most 70")
        check(
            not self.gripper_homing or self.gripper_backend == "franka_actions",
            "gripper_homing",
            self.gripper_homing,
            "true with gripper_backend franka_actions only",
        )
        check(self.gripper_position_per_m != 0, "gripper_position_per_m", self.gripper_position_per_m, "not 0")


@dataclass(frozen=True)
class RobotState:
    """The robot's own report: errors, modes other than IDLE and MOVE, and late commands are faults; silence is a stop."""

    topic: str
    msgtype: Literal["franka_msgs/msg/FrankaRobotState", "franka_msgs/msg/FrankaState"]
    max_age_s: float = 0.2
    min_success_rate: float = 0.9

    def __post_init__(self) -> None:
        _check_topic(self.topic)
        check(0.01 <= self.max_age_s <= 2, "max_age_s", self.max_age_s, "0.01 to 2")
        check(0 <= self.min_success_rate <= 1, "min_success_rate", self.min_success_rate, "0 to 1")


@dataclass(frozen=True)
class Recovery:
    """How the robot is brought back after an error, in this order: its own recovery (`action` or `service` on `topic`), its
    hardware component set active again (franka_ros2 from 2.4 and 3.3 on; empty: it stays active), its controllers switched on.
    """

    kind: Literal["action", "service"]
    topic: str
    controllers: tuple[str, ...] = ()
    hardware: str = ""
    controller_manager: str = "/controller_manager"

    def __post_init__(self) -> None:
        _check_topic(self.topic)
        _check_topic(self.controller_manager, "controller_manager")


@dataclass(frozen=True)
class Deadman:
    """A button that a person holds down while the arm may move: one of a `Joy`, or a `Bool`. Released, or silent for longer
    than `max_age_s`, it is a hold; silence is possible only if its driver repeats itself (joy_node: `autorepeat_rate`).
    """

    topic: str
    msgtype: Literal["sensor_msgs/msg/Joy", "std_msgs/msg/Bool"] = "sensor_msgs/msg/Joy"
    button: int = 0
    max_age_s: float = 0.3

    def __post_init__(self) -> None:
        _check_topic(self.topic)
        check(0 <= self.button < 64, "button", self.button, "0 to 63")
        check(0.02 <= self.max_age_s <= 1, "max_age_s", self.max_age_s, "0.02 to 1")


@dataclass(frozen=True)
class Workspace:
    """Box in the base frame [m] that the tool centre point must stay in; each axis is (low, high)."""

    x_m: tuple[float, float]
    y_m: tuple[float, float]
    z_m: tuple[float, float]

    def __post_init__(self) -> None:
        for axis in ("x_m", "y_m", "z_m"):
            low, high = getattr(self, axis)
            check(low < high, axis, [low, high], "[low, high] with low < high")


@dataclass(frozen=True)
class Safety:
    """The limiter's part of the contract; fractions multiply the robot's own limit table.

    `table_z_m` is the height of the table in the base frame: finger tips, hand, wrist and elbow stay above it. Without it the
    table is where vertical fingers end when the tool stands on the workspace's floor.
    """

    limits: str
    workspace: Workspace
    velocity_fraction: float = 0.4
    acceleration_fraction: float = 0.4
    jerk_fraction: float = 0.4
    position_margin_rad: float = 0.03
    start_mismatch_rad: float = 0.5
    policy_timeout_s: float = 0.3
    table_z_m: float | None = None

    def __post_init__(self) -> None:
        check(self.limits in TABLES, "limits", self.limits, f"one of {', '.join(TABLES)}")
        for name in ("velocity_fraction", "acceleration_fraction", "jerk_fraction"):
            value = getattr(self, name)
            highest = _MAX_ACCELERATION_FRACTION if name == "acceleration_fraction" else 1.0
            check(0 < value <= highest, name, value, f"above 0, at most {highest:g}")
        check(0 <= self.position_margin_rad <= 0.3, "position_margin_rad", self.position_margin_rad, "0 to 0.3")
        check(0 < self.start_mismatch_rad <= 1, "start_mismatch_rad", self.start_mismatch_rad, "above 0, at most 1")
        check(0 < self.policy_timeout_s <= 2, "policy_timeout_s", self.policy_timeout_s, "above 0, at most 2")
        highest_m = self.workspace.z_m[1]
        check(self.table_m < highest_m, "table_z_m", self.table_z_m, f"below the workspace's ceiling ({highest_m:g})")

    @property
    def table_m(self) -> float:
        """Height of the table in the base frame [m]."""
        return self.workspace.z_m[0] - FINGER_BEYOND_TCP_M if self.table_z_m is None else self.table_z_m


@dataclass(frozen=True)
class Embodiment:
    """One robot set-up. Order of joints, cameras and depth cameras is the order in every tensor.

    Raises:
        ConfigError: a value outside its range, or parts that do not fit each other; names the key path.
    """

    name: str
    joints: Joints
    cameras: tuple[Camera, ...]
    action: Action
    policy: Policy
    command: Command
    safety: Safety
    home_rad: tuple[float, ...]
    gripper: Gripper | None = None
    robot_state: RobotState | None = None
    recovery: Recovery | None = None
    deadman: Deadman | None = None
    depth: tuple[DepthCamera, ...] = ()
    description: str = ""
    simulated: bool = field(default=False)

    def __post_init__(self) -> None:
        check(self.name.isidentifier(), "name", self.name, "letters, digits and underscores")
        names = [camera.name for camera in self.cameras] + [camera.name for camera in self.depth]
        check(len(set(names)) == len(names), "cameras", names, "camera names that differ, those of depth included")
        topics = [s.topic for s in self.streams()]
        check(len(set(topics)) == len(topics), "topics", topics, "a topic of its own for every stream")
        check(
            self.command.rate_hz >= self.policy.rate_hz,
            "command.rate_hz",
            self.command.rate_hz,
            f">= policy.rate_hz ({self.policy.rate_hz:g})",
        )
        check(
            (self.gripper is None) <= (self.command.gripper_backend == "none"),
            "command.gripper_backend",
            self.command.gripper_backend,
            "'none' without a gripper section",
        )
        table = TABLES[self.safety.limits]
        check(
            len(self.joints.names) == len(table.position_min),
            "joints.names",
            list(self.joints.names),
            f"{len(table.position_min)} joints, as limits '{self.safety.limits}'",
        )
        check(
            len(self.home_rad) == len(self.joints.names),
            "home_rad",
            list(self.home_rad),
            f"{len(self.joints.names)} angles",
        )
        inside = all(
            low < q < high for low, q, high in zip(table.position_min, self.home_rad, table.position_max, strict=True)
        )
        check(inside, "home_rad", list(self.home_rad), f"inside the position limits '{self.safety.limits}'")

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state vector: joints [rad], then the gripper width [m]."""
        return self.joints.names + ((GRIPPER_NAME,) if self.gripper else ())

    @property
    def command_names(self) -> tuple[str, ...]:
        """Names of a command: joints [rad], then the gripper width [m]."""
        return self.state_names

    @property
    def action_columns(self) -> tuple[Column, ...]:
        """The columns of the policy's rows: those of its kind of action, then the gripper width."""
        return self._columns(self.action.kind)

    @property
    def chunk_columns(self) -> tuple[Column, ...]:
        """The columns of the chunks that the policy sends: its rows after differences were added to the state."""
        return self._columns(ABSOLUTE.get(self.action.kind, self.action.kind))

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the policy's rows, in the units of its kind of action."""
        return tuple(column.name for column in self.action_columns)

    @property
    def chunk_names(self) -> tuple[str, ...]:
        """Names of the rows in the policy's chunks."""
        return tuple(column.name for column in self.chunk_columns)

    def _columns(self, kind: ActionKind) -> tuple[Column, ...]:
        return arm_columns(kind, self.joints.names) + ((Column(GRIPPER_NAME, "m"),) if self.gripper else ())

    def streams(self) -> tuple[StreamSpec, ...]:
        """Every stream that an observation needs: joints, gripper, `camera.<name>`, `depth.<name>`, in order."""
        specs = [_stream("joints", self.joints.topic, JOINT_STATE, self.joints.timing)]
        if self.gripper:
            specs.append(_stream("gripper", self.gripper.topic, JOINT_STATE, self.gripper.timing))
        specs += [_stream(f"camera.{c.name}", c.topic, c.msgtype, c.timing) for c in self.cameras]
        specs += [_stream(f"depth.{c.name}", c.topic, c.msgtype, c.timing) for c in self.depth]
        return tuple(specs)

    def command_stream(self) -> StreamSpec:
        """The commanded targets, which demonstrations take their actions from."""
        return StreamSpec("command", self.command.record_topic, COMMAND, self.command.rate_hz, 50_000_000, 0)


def _stream(key: str, topic: str, msgtype: str, timing: Timing) -> StreamSpec:
    max_age_ns, allowance_ns, frozen_after_ns = (
        round(seconds * 1e9) for seconds in (timing.max_age_s, timing.allowance_s, timing.frozen_after_s)
    )
    return StreamSpec(key, topic, msgtype, timing.rate_hz, max_age_ns, allowance_ns, frozen_after_ns)


def _check_view(view: Camera | DepthCamera) -> None:
    check(view.name.isidentifier(), "name", view.name, "letters, digits and underscores")
    _check_topic(view.topic)
    check(all(8 <= n <= 2048 for n in view.size_px), "size_px", view.size_px, "[height, width], each 8 to 2048")
    if view.crop_px is not None:
        top, left, height, width = view.crop_px
        check(
            min(top, left) >= 0 and min(height, width) > 0,
            "crop_px",
            view.crop_px,
            "[top >= 0, left >= 0, height > 0, width > 0]",
        )


def _check_topic(topic: str, key: str = "topic") -> None:
    check(
        topic.startswith("/") and len(topic) > 1 and " " not in topic,
        key,
        topic,
        "an absolute topic name such as /franka/joint_states",
    )


def _check_names(names: tuple[str, ...]) -> None:
    check(bool(names) and len(set(names)) == len(names), "names", list(names), "names that differ, at least one")
