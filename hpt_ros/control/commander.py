"""The safety kernel: chunks, joint states and a person's wishes in; one safe command per tick out. No ROS, no clock of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import POLICY, TELEOP, Chunk, ChunkGate, ChunkRejected
from hpt_ros.control.gripper import GripperSwitch
from hpt_ros.control.homing import Homing
from hpt_ros.control.horizon import ArmCommand, Horizon
from hpt_ros.control.joint_rows import JointRows
from hpt_ros.control.limiter import Limiter, UnsafeRequestError
from hpt_ros.control.merging import make_strategy
from hpt_ros.control.robot_health import RobotHealth
from hpt_ros.control.schedule import Reference, Schedule
from hpt_ros.control.state_machine import Event, State, StateMachine
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptRosError

Array = NDArray[np.float64]

HOLD = "hold"
SETTLE_S = 0.2  # from the controller's desired pose to the measured one, when the arm is engaged
ENGAGE_TIMEOUT_S = 30.0  # nobody expects an arm to start minutes after the button
GRACE_S = 2.0  # a hold that the commander began by itself ends by itself only within this
MOVING_RAD_S = 0.1  # measured; an arm that moves cannot be taken over at zero velocity
CLOCK_JUMP_S = 0.05


class EngageRefused(HptRosError):
    """The arm is not taken over."""


@dataclass(frozen=True)
class Label:
    """The command in force at `in_force_ns`: joints (J,) then gripper width, in the order of `command_names`; whose it is,
    and whether a person took the arm from a policy.
    """

    in_force_ns: int
    position: Array
    velocity: Array
    source: str
    intervention: bool = False


@dataclass(frozen=True)
class TickOutput:
    """What to send: to the arm, to the record, to the gripper (a new width [m]). None: nothing."""

    arm: ArmCommand | None = None
    label: Label | None = None
    gripper_m: float | None = None


class Commander:
    """One arm. All times are nanoseconds of one clock; calls come from one thread."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        safety, joints = embodiment.safety, embodiment.joints
        self._names = joints.names
        self._period_ns = round(1e9 / embodiment.command.rate_hz)
        self._joints_max_age_ns = round(joints.timing.max_age_s * 1e9)
        self._policy_timeout_ns = round(safety.policy_timeout_s * 1e9)
        self._machine = StateMachine()
        self._gate = ChunkGate(embodiment)
        policy, count = embodiment.policy, len(joints.names)
        self._joint_rows = JointRows(embodiment)
        self._schedule = Schedule(count, policy.execute_rows, make_strategy(policy, count, self._joint_rows.mean))
        self._horizon = Horizon(Limiter(safety, joints.names, 1 / embodiment.command.rate_hz))
        self._gripper = GripperSwitch(embodiment.gripper.max_width_m) if embodiment.gripper else None
        self._measured: tuple[int, Array, Array | None] | None = None
        self._ahead_ns = 0
        self._width_m: float | None = None
        self._health: tuple[int, RobotHealth] | None = None
        self._engaged_ns = self._settled_ns = self._chunk_ns = self._recover_until_ns = self._tick_ns = 0
        self._observed_ns = self._blind_ns = 0  # the policy's newest observation, and its newest tick without one
        self._refusal = ""  # of a chunk since the last good one
        self._human_ns: int | None = None
        self._policy_heard = False  # since the arm was taken over
        self._deadman: tuple[int, bool] | None = None
        self._reference: Reference | None = None  # followed in the present tick
        self._homing: Homing | None = None
        self.source = ""
        self.chunks_accepted = self.limited_ticks = 0
        self.rejections: Counter[str] = Counter()
        self.limit_ticks: Counter[str] = Counter()
        self.last_rejection = ""

    @property
    def state(self) -> State:
        """Where the state machine is."""
        return self._machine.state

    @property
    def reason(self) -> str:
        """Why it is there."""
        return self._machine.reason

    @property
    def active(self) -> bool:
        """Whether the arm is commanded."""
        return self.state in (State.ENGAGING, State.RUNNING, State.HOLDING, State.HOMING)

    @property
    def rows_late(self) -> int:
        """Rows that were due before they arrived."""
        return self._schedule.rows_late

    @property
    def seams(self) -> int:
        """Chunks that took over from another."""
        return self._schedule.seams

    @property
    def largest_seam_rad(self) -> float:
        """What a chunk's first row differed by from the motion in force, at most, since the arm was taken over."""
        return self._schedule.largest_seam_rad

    @property
    def intervention(self) -> bool:
        """Whether a person drives who took the arm from a policy, or keeps it from one."""
        return self._policy_heard and self.source.startswith(TELEOP)

    def joints_age_ms(self, now_ns: int) -> float:
        """Of the newest joint state; -1: none yet."""
        return (now_ns - self._measured[0]) / 1e6 if self._measured else -1.0

    def robot_state_age_ms(self, now_ns: int) -> float:
        """Of the robot's own report; -1: none yet."""
        return (now_ns - self._health[0]) / 1e6 if self._health else -1.0

    # What is measured

    def on_joints(self, stamp_ns: int, q: Array, dq: Array | None, now_ns: int) -> None:
        """The newest joint state (J,) [rad], [rad/s], read at `now_ns`.

        One that is not finite counts as none: the stream grows stale. A stamp ahead of the clock by more than a period
        shows that the arm's clock is ahead: it would take our commands for old ones.
        """
        self._ahead_ns = stamp_ns - now_ns
        if np.isfinite(q).all():
            self._measured = (stamp_ns, q, dq)

    def on_gripper(self, width_m: float) -> None:
        """The measured width [m]."""
        if np.isfinite(width_m):
            self._width_m = width_m

    def on_robot_state(self, health: RobotHealth, now_ns: int, stamp_ns: int | None = None) -> None:
        """What the robot says of itself, read at `now_ns`; a report that is sent again and again keeps its age by its stamp.

        One from the future is none: nobody could tell how old it is.
        """
        if stamp_ns is None or stamp_ns <= now_ns + CLOCK_JUMP_S * 1e9:
            self._health = (now_ns if stamp_ns is None else min(stamp_ns, now_ns), health)

    def on_deadman(self, pressed: bool, now_ns: int) -> None:
        """The state of the deadman button, received at `now_ns`."""
        self._deadman = (now_ns, pressed)
        if not pressed and self._embodiment.deadman:  # however soon it is pressed again
            self._let_go("deadman: released")

    # A person's wishes; each raises HptRosError when it is refused

    def engage(self, now_ns: int) -> None:
        """Take the arm over where it stands and wait for the first chunk."""
        self._machine.require(Event.ENGAGE)
        self._take_over(now_ns)
        self._machine.apply(Event.ENGAGE, "waiting for the first chunk")

    def home(self, now_ns: int) -> None:
        """Take the arm over and bring it to `home_rad`, slowly; then let go."""
        self._machine.require(Event.HOME)
        q = self._take_over(now_ns)
        gripper_m = self._gripper.target_m if self._gripper else None
        self._homing = Homing(self._settled_ns, q, np.array(self._embodiment.home_rad), gripper_m)
        self._machine.apply(Event.HOME, "on the way home")

    def _take_over(self, now_ns: int) -> Array:
        """Begin to command the arm where it stands; the joints (J,) there."""
        q, dq = self._fresh_joints(now_ns)
        if reason := self._silent_robot(now_ns) or self._unwell():
            raise EngageRefused(reason, "clear it with the robot's own tools or /hpt_ros/commander/recover_errors")
        self._require_deadman(now_ns)
        if dq is not None and np.abs(dq).max() > MOVING_RAD_S:
            joint = int(np.abs(dq).argmax())
            raise EngageRefused(
                f"{self._names[joint]} moves at {dq[joint]:.2f} rad/s", "wait until the arm stands still"
            )
        if self._gripper:
            if self._width_m is None:
                raise EngageRefused("gripper: no measured width yet", "start the gripper's node, or check its topic")
            self._gripper.start(self._width_m)
        self._horizon.start(now_ns, q)
        self._engaged_ns = self._tick_ns = now_ns
        self._settled_ns = now_ns + round(SETTLE_S * 1e9)
        self._human_ns, self._policy_heard = None, False
        self._schedule.largest_seam_rad = 0.0
        self._observed_ns = self._blind_ns = 0
        return q

    def disengage(self) -> None:
        """Let go. The last message that was sent ends in a brake."""
        self._machine.apply(Event.DISENGAGE, "disengaged")

    def hold(self) -> None:
        """Decelerate and hold until `resume`."""
        self._machine.apply(Event.HOLD, "held by a person")
        self._recover_until_ns = 0

    def resume(self, now_ns: int) -> None:
        """Leave a hold: the next chunk passes the start guard like the first."""
        self._machine.require(Event.RESUME)
        self._fresh_joints(now_ns)
        self._require_deadman(now_ns)
        self._machine.apply(Event.RESUME, "waiting for a chunk after a hold")
        self._engaged_ns = now_ns

    def reset(self) -> None:
        """Clear a fault."""
        self._machine.apply(Event.RESET, "reset by a person")

    def recover_errors(self) -> None:
        """The robot's side is about to be recovered: not while the arm is commanded. The state stays as it is."""
        self._machine.require(Event.RECOVER_ERRORS)
        self._machine.note("recovering")

    def recovered(self, outcome: str) -> None:
        """How the recovery ended; a fault still waits for `reset`."""
        if not self.active:
            self._machine.note(outcome)

    def fault(self, reason: str) -> None:
        """Stop sending, for good. The last message that was sent ends in a brake."""
        self._machine.apply(Event.FAULT, reason)

    # Chunks

    def on_chunk(self, chunk: Chunk, now_ns: int) -> bool:
        """Take a chunk that arrived at `now_ns`; whether it will be followed. A person's device goes before the policy."""
        holding = self.state is State.HOLDING
        if (
            not self.active
            or self.state is State.HOMING
            or (self.state is State.ENGAGING and now_ns < self._settled_ns)
            or (holding and now_ns > self._recover_until_ns)
        ):
            return False
        try:
            self._gate.check(chunk, self._engaged_ns, now_ns)
            self._policy_heard = self._policy_heard or not chunk.by_human
            if chunk.by_human:
                self._human_ns = now_ns
            elif self._human_drives(now_ns) or chunk.observation_ns <= self._blind_ns:
                return False
            chunk = self._joint_rows.of(chunk, self._horizon.end_ns, self._horizon.end.q)
            if self.state is not State.RUNNING and not self._begin(chunk, now_ns):
                return False
        except ChunkRejected as rejection:
            self.rejections[rejection.kind] += 1
            self.last_rejection = self._refusal = rejection.message
            return False
        self._schedule.offer(chunk, now_ns)
        self._chunk_ns, self._refusal = now_ns, ""
        if not chunk.by_human:
            self._observed_ns = chunk.observation_ns
        self.chunks_accepted += 1
        return True

    def on_blind_policy(self, tick_ns: int, reason: str, now_ns: int) -> None:
        """The policy has no observation at `tick_ns`: the rows that are left were made for a world that it no longer sees."""
        self._blind_ns = max(self._blind_ns, min(tick_ns, now_ns))
        if self.state is State.RUNNING and not self._human_drives(now_ns) and tick_ns > self._observed_ns:
            self._pause(Event.STARVED, f"{POLICY}: {reason}", now_ns)

    def _human_drives(self, now_ns: int) -> bool:
        return self._human_ns is not None and now_ns - self._human_ns <= self._policy_timeout_ns

    def _begin(self, chunk: Chunk, now_ns: int) -> bool:
        """The start guard. False: the arm stays where it is."""
        if self._stale_joints(now_ns) or self._silent_robot(now_ns) or self._measured is None:
            return False
        live = chunk.rows[chunk.due_ns > self._horizon.end_ns]
        if not len(live):
            raise ChunkRejected("late", "every row was due before it could be executed")
        if mismatch := self._too_far(live[0, : len(self._names)] - self._measured[1], "the first target"):
            self._machine.apply(Event.MISMATCH, f"refused: {mismatch}")
            raise ChunkRejected("mismatch", mismatch)
        end = self._horizon.end
        self._schedule.start(self._horizon.end_ns, end.q, end.dq, self._gripper.target_m if self._gripper else None)
        self._machine.apply(Event.FIRST_CHUNK if self.state is State.ENGAGING else Event.RECOVERED, "following chunks")
        return True

    # The tick

    def tick(self, now_ns: int) -> TickOutput:
        """One control period. `now_ns` is when the tick was due, so that commands are evenly spaced."""
        if self.active:
            self._watch(now_ns)
        if not self.active:
            self.source = ""
            return TickOutput()
        self._tick_ns = now_ns
        self._reference = None
        try:
            limits = self._horizon.advance(now_ns, self._wanted)
        except UnsafeRequestError as error:
            self.fault(error.message)
            return TickOutput()
        self.limited_ticks += bool(limits)
        self.limit_ticks.update(set(limits))
        self.source = self._reference.source if self._reference else HOLD
        gripper_m = self._switch_gripper(now_ns)
        settled_ns = self._settled_ns if self.state in (State.ENGAGING, State.HOMING) else 0
        return TickOutput(self._horizon.command(settled_ns), self._label(), gripper_m)

    def _watch(self, now_ns: int) -> None:
        """Everything that ends a motion."""
        if now_ns < self._tick_ns - CLOCK_JUMP_S * 1e9:
            self.fault(f"the clock went back by {(self._tick_ns - now_ns) / 1e9:.3f} s")
        elif stale := self._stale_joints(now_ns):
            self._pause(Event.STALE_JOINTS, stale, now_ns)
        elif silent := self._silent_robot(now_ns):
            self._pause(Event.STALE_JOINTS, silent, now_ns)
        elif unwell := self._unwell():
            self.fault(unwell)
        elif astray := self._astray():
            self.fault(f"the arm does not follow: {astray}")
        if open_ := self._open_deadman(now_ns):
            self._let_go(open_)
        late_ms, allowed_ms = (now_ns - self._chunk_ns) / 1e6, self._policy_timeout_ns / 1e6
        if self.state is State.RUNNING and late_ms > allowed_ms:
            who, why = self.source or POLICY, f" (the last one was refused: {self._refusal})" if self._refusal else ""
            self._pause(
                Event.STARVED, f"{who}: no good chunk for {late_ms:.0f} ms, allowed: {allowed_ms:.0f} ms{why}", now_ns
            )
        if self.state is State.ENGAGING and now_ns - self._engaged_ns > ENGAGE_TIMEOUT_S * 1e9:
            self._machine.apply(Event.STARVED, f"no good chunk within {ENGAGE_TIMEOUT_S:g} s of the engagement")
        if self.state is State.HOMING:
            self._watch_homing(now_ns)

    def _watch_homing(self, now_ns: int) -> None:
        assert self._homing is not None, "set with the state"
        assert self._measured is not None, "not stale"
        if self._homing.arrived(now_ns, self._measured[1]):
            self._machine.apply(Event.ARRIVED, "at home")
        elif self._homing.overdue(now_ns):
            self._machine.apply(
                Event.STARVED, "home not reached: the straight way there leaves the workspace or the limits"
            )

    def _astray(self) -> str:
        """The measured joint that is too far from its command; empty if none is."""
        assert self._measured is not None, "not stale"
        return self._too_far(self._measured[1] - self._horizon.position, "its command")

    def _too_far(self, gap: Array, what: str) -> str:
        joint, allowed = int(np.abs(gap).argmax()), self._embodiment.safety.start_mismatch_rad
        if abs(gap[joint]) <= allowed:
            return ""
        return f"{self._names[joint]} is {abs(gap[joint]):.2f} rad from {what}, allowed: {allowed:g} rad"

    def _pause(self, event: Event, reason: str, now_ns: int) -> None:
        if self._machine.apply(event, reason):
            self._recover_until_ns = now_ns + round(GRACE_S * 1e9)

    def _wanted(self, t_ns: int) -> Reference | None:
        if self.state is State.HOMING and self._homing:
            self._reference = self._homing.sample(t_ns)
            return self._reference
        if self.state is not State.RUNNING:
            return None
        reference = self._schedule.sample(t_ns)
        if reference is None:
            self._pause(Event.STARVED, f"{self.source or POLICY}: the last row was due and no chunk followed", t_ns)
        self._reference = reference
        return reference

    def _switch_gripper(self, now_ns: int) -> float | None:
        wanted = self._reference.gripper_m if self._reference else None
        if self._gripper and wanted is not None and self._gripper.update(wanted, now_ns):
            return self._gripper.target_m
        return None

    def _label(self) -> Label:
        end = self._horizon.end
        position, velocity = end.q, end.dq
        if self._gripper:
            position, velocity = np.append(position, self._gripper.target_m), np.append(velocity, 0.0)
        return Label(self._horizon.end_ns, position, velocity, self.source, self.intervention)

    # The robot's own state

    def _silent_robot(self, now_ns: int) -> str:
        """Why nothing is known of the robot; empty if enough is, or if the embodiment has no robot state."""
        contract = self._embodiment.robot_state
        if contract is None:
            return ""
        if self._health is None:
            return f"robot state: nothing received on {contract.topic}"
        age_ms, allowed_ms = (now_ns - self._health[0]) / 1e6, contract.max_age_s * 1e3
        return f"robot state: silent for {age_ms:.0f} ms, allowed: {allowed_ms:.0f} ms" if age_ms > allowed_ms else ""

    def _unwell(self) -> str:
        contract = self._embodiment.robot_state
        return self._health[1].fault(contract.min_success_rate) if contract and self._health else ""

    # The deadman button

    def _open_deadman(self, now_ns: int) -> str:
        """Why nobody is known to hold the button; empty if somebody holds it, or if the embodiment has none."""
        contract = self._embodiment.deadman
        if contract is None:
            return ""
        if self._deadman is None:
            return f"deadman: nothing received on {contract.topic}"
        if now_ns - self._deadman[0] > contract.max_age_s * 1e9:
            return f"deadman: silent for more than {contract.max_age_s * 1e3:.0f} ms"
        return "" if self._deadman[1] else "deadman: released"

    def _let_go(self, reason: str) -> None:
        if self.active:
            self._machine.apply(Event.DEADMAN, reason)
            self._recover_until_ns = 0

    def _require_deadman(self, now_ns: int) -> None:
        if reason := self._open_deadman(now_ns):
            raise EngageRefused(reason, "hold the deadman button down")

    # Joint states

    def _stale_joints(self, now_ns: int) -> str:
        """Why the measured joints cannot be trusted now; empty if they can."""
        if self._measured is None:
            return f"joints: nothing received on {self._embodiment.joints.topic}"
        if self._ahead_ns > self._period_ns:
            return f"joints: the stamps are {self._ahead_ns / 1e6:.0f} ms ahead of the clock, allowed: {self._period_ns / 1e6:.0f} ms"
        age_ns = now_ns - self._measured[0]
        if age_ns > self._joints_max_age_ns:
            return f"joints: the newest sample is {age_ns / 1e6:.0f} ms old, allowed: {self._joints_max_age_ns / 1e6:.0f} ms"
        return ""

    def _fresh_joints(self, now_ns: int) -> tuple[Array, Array | None]:
        stale = self._stale_joints(now_ns)
        if stale or self._measured is None:
            raise EngageRefused(stale, f"check that {self._embodiment.joints.topic} is published, and the clocks")
        return self._measured[1], self._measured[2]
