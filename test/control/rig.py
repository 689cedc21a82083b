"""A commander with an arm that does what its messages say, on a clock of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Chunk, expected_names
from hpt_ros.control.commander import Commander, TickOutput
from hpt_ros.control.state_machine import State
from hpt_ros.control.trajectory import JointTrajectoryFollower
from hpt_ros.embodiment import Embodiment, fingerprint, load_embodiment

SIM = load_embodiment("sim_panda")
HOME = np.array(SIM.home_rad)
MS = 1_000_000
T0 = 1_000_000 * MS
PERIOD = SIM.policy.period_ns
H = SIM.policy.action_horizon
Array = NDArray[np.float64]


class Rig:
    """One arm of an embodiment, at rest at `q`."""

    def __init__(self, q: Array = HOME, robot: Embodiment = SIM) -> None:
        self.robot = robot
        self.commander = Commander(robot)
        self.arm = JointTrajectoryFollower(SIM.joints.names, q)
        self.now = T0
        self.joints_alive = True
        self.outputs: list[TickOutput] = []
        self.path: list[tuple[Array, Array]] = []
        self.send_joints()
        self.commander.on_gripper(0.08)

    @property
    def state(self) -> State:
        return self.commander.state

    def send_joints(self) -> None:
        if self.joints_alive:
            self.commander.on_joints(self.now, *self.arm.sample(self.now), self.now)

    def tick(self, count: int = 1, late_ms: int = 0) -> TickOutput:
        """Ticks that are due every 10 ms; the message of each reaches the arm `late_ms` after it was due."""
        for _ in range(count):
            output = self.commander.tick(self.now)
            self.outputs.append(output)
            self.move(late_ms)
            if output.arm:
                points = [(t, q, dq, None) for t, q, dq in output.arm.points]
                self.arm.accept(SIM.joints.names, points, output.arm.stamp_ns, self.now)
            self.move(10 - late_ms)
            self.send_joints()
        return output

    def move(self, ms: int) -> None:
        for _ in range(ms):
            self.path.append(self.arm.sample(self.now))
            self.now += MS

    def chunk(self, target: Array, source: str = "policy", gripper: float = 0.08, age_ms: int = 20) -> bool:
        rows = np.tile([*target, gripper], (H, 1))
        return self.offer(rows, source, age_ms)

    def offer(self, rows: Array, source: str = "policy", age_ms: int = 20) -> bool:
        names = expected_names(self.robot, source)
        chunk = Chunk(self.now - age_ms * MS, PERIOD, names, rows, fingerprint(self.robot), source)
        return self.commander.on_chunk(chunk, self.now)

    def engage(self) -> None:
        self.commander.engage(self.now)
        self.tick(52)

    def run(self, target: Array, ticks: int, source: str = "policy") -> None:
        """A policy that wants one pose, at about 15 Hz."""
        for i in range(ticks):
            if i % 7 == 0:
                self.chunk(target, source)
            self.tick()


def speed(rig: Rig) -> float:
    """The fastest joint of the arm [rad/s]."""
    return float(np.abs(rig.arm.sample(rig.now)[1]).max())
