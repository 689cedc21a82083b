"""Keeps a world in step with the clock: a physics thread, periodic outputs, and the controllers in front of the servos."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hpt_ros.control.trajectory import JointTrajectoryFollower, Point
from hpt_ros.errors import HptRosError
from hpt_ros.sim.world import World

_WAKE_PERIOD_S = 0.001  # of the physics thread
_BATCH = 20  # steps between two chances for others to take the lock
_MAX_LAG_S = 0.5  # more is not caught up with: the machine slept, or cannot keep the pace
_CLOCK_STEP_NS = 10_000_000  # deviation from the ROS clock at which stamps are aligned anew; above a thread switch
_WINDOW_S = 1.0  # of the real-time factor


class CommandError(HptRosError):
    """A command that the simulated controllers refuse; the motion in force goes on."""


@dataclass
class _Output:
    period_ns: int
    next_ns: int
    publish: Callable[[int], None]


class Driver:
    """Steps `world` in a thread at `speed` simulated seconds per second, on deadlines of the monotonic clock.

    At speed 1 a state's stamp is the ROS time at which it holds. At any other speed stamps are simulated time.
    Commands and outputs exclude each other, so that whoever sees the world sees one moment of one episode.
    Other controllers than the simulated ones may take their place: `reference` gives joint positions and velocities at a
    stamp and is asked before every step, `on_reset` is called when the arm was put elsewhere, both under `lock`.

    `thread` is the one that does it.

    Args:
        joint_names: the arm's, in the order of the world's joints.
        ros_now_ns: the ROS clock.
    """

    def __init__(
        self, world: World, joint_names: Sequence[str], ros_now_ns: Callable[[], int], speed: float = 1.0
    ) -> None:
        self.world = world
        self.failure: Exception | None = None
        self.stalls = 0
        self._speed, self._ros_now_ns = speed, ros_now_ns
        self._follower = JointTrajectoryFollower(joint_names, world.q)
        self.reference: Callable[[int], tuple[ArrayLike, ArrayLike]] = self._follower.sample
        self.on_reset: Callable[[], None] = lambda: self._follower.reset(self.world.q)
        self.lock = threading.RLock()
        self._outputs: list[_Output] = []
        self._stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="physics", daemon=True)
        self._mark = self._mark_before = (time.monotonic_ns(), world.time_ns)
        self._anchor()

    @property
    def stamp_ns(self) -> int:
        """ROS time (simulated time, unless the speed is 1) at which the world's present state holds."""
        return self._anchor_stamp_ns + self.world.time_ns - self._anchor_sim_ns

    @property
    def real_time_factor(self) -> float:
        """Simulated seconds per second over the last one to two seconds."""
        began_ns, began_sim_ns = self._mark_before
        return (self.world.time_ns - began_sim_ns) / max(time.monotonic_ns() - began_ns, 1)

    def every(self, period_ns: int, publish: Callable[[int], None]) -> None:
        """Before `start`: call `publish(stamp_ns)` in the physics thread once per period of simulated time."""
        self._outputs.append(_Output(period_ns, self.world.time_ns + period_ns, publish))

    def start(self) -> None:
        """Begin to simulate."""
        self._anchor()
        self._mark = self._mark_before = (self._anchor_ns, self._anchor_sim_ns)
        self.thread.start()

    def stop(self) -> None:
        """End the thread after the step in work."""
        self._stopping.set()
        if self.thread.ident is not None:
            self.thread.join(timeout=2.0)

    def follow(self, names: Sequence[str], points: Sequence[Point], stamp_ns: int) -> None:
        """Hand a trajectory to the simulated joint_trajectory_controller; `stamp_ns` 0 starts it now.

        Raises:
            TrajectoryRejected: as the controller would.
        """
        with self.lock:
            self._follower.accept(names, points, stamp_ns, self.stamp_ns)

    def hold(self, q: ArrayLike) -> None:
        """A streamed joint target (J,) [rad], in force at once.

        Raises:
            CommandError: wrong size or not finite.
        """
        target = np.asarray(q, dtype=float)
        if target.shape != (len(self._follower.names),) or not np.isfinite(target).all():
            raise CommandError(f"joint target {target.tolist()}, expected {len(self._follower.names)} finite angles")
        with self.lock:
            self._follower.reset(target)

    def set_gripper(self, width_m: Sequence[float]) -> None:
        """A gripper command: one width [m].

        Raises:
            CommandError: not one finite number.
        """
        if len(width_m) != 1 or not np.isfinite(width_m[0]):
            raise CommandError(f"gripper command {list(width_m)}, expected one width in m")
        with self.lock:
            self.world.set_gripper_target(width_m[0])

    def reset(self, task: str, seed: int) -> int:
        """Start an episode and forget every command; returns its number.

        Raises:
            ConfigError: no such task; the running episode goes on.
        """
        with self.lock:
            self.world.reset(task, seed)
            self.on_reset()
            return self.world.episode

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                behind = self._catch_up()
                time.sleep(1e-4 if behind else max(1e-4, self._next_wake_s() - time.monotonic()))
        except Exception as error:  # read by the owner, who ends the process
            self.failure = error

    def _catch_up(self) -> bool:
        """Step to the present, at most a batch; whether that was not enough."""
        now_ns = time.monotonic_ns()
        with self.lock:
            if now_ns - self._mark[0] > _WINDOW_S * 1e9:
                self._mark_before, self._mark = self._mark, (now_ns, self.world.time_ns)
                self._follow_ros_clock()
            due_ns = self._anchor_sim_ns + int((now_ns - self._anchor_ns) * self._speed)
            if due_ns - self.world.time_ns > _MAX_LAG_S * self._speed * 1e9:
                self.stalls += 1
                self._anchor()
                return False
            steps = (due_ns - self.world.time_ns) // self.world.timestep_ns
            for _ in range(min(steps, _BATCH)):
                self._step()
        return steps > _BATCH

    def _step(self) -> None:
        world = self.world
        world.set_arm_target(*self.reference(self.stamp_ns))
        world.step()
        stamp_ns = self.stamp_ns
        for output in self._outputs:
            if world.time_ns >= output.next_ns:
                output.next_ns += output.period_ns
                output.publish(stamp_ns)

    def _next_wake_s(self) -> float:
        """Monotonic time at which the present state will be one wake period old."""
        return self._anchor_ns * 1e-9 + (self.world.time_ns - self._anchor_sim_ns) * 1e-9 / self._speed + _WAKE_PERIOD_S

    def _anchor(self) -> None:
        """The present state is the present moment."""
        self._anchor_ns, self._anchor_sim_ns = time.monotonic_ns(), self.world.time_ns
        self._anchor_stamp_ns = self._ros_now_ns() if self._speed == 1.0 else self.world.time_ns

    def _follow_ros_clock(self) -> None:
        """Align the stamps anew when the ROS clock was set or has drifted."""
        deviation_ns = self._ros_now_ns() - (self._anchor_stamp_ns + time.monotonic_ns() - self._anchor_ns)
        if self._speed == 1.0 and abs(deviation_ns) > _CLOCK_STEP_NS:
            self._anchor_stamp_ns += deviation_ns
