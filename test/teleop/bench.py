"""A teleoperator, the real commander and an arm that does what it is told, on one simulated clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpt_ros.control.chunk import Chunk
from hpt_ros.control.commander import Commander
from hpt_ros.control.kinematics import forward
from hpt_ros.embodiment import Embodiment, fingerprint, load_embodiment
from hpt_ros.teleop.arm_view import Commanded
from hpt_ros.teleop.config import Device, load_device
from hpt_ros.teleop.teleoperator import Teleoperator

PANDA = load_embodiment("sim_panda")
TICK_NS = 10_000_000
TELEOP_TICKS = 3  # one chunk in 30 ms


class Bench:
    """`device_input(bench)` is called before every tick of the teleoperator and feeds it; positions are those commanded."""

    def __init__(self, device: Device | str, robot: Embodiment = PANDA, q: Any = None) -> None:
        self.robot = robot
        self.device = load_device(device) if isinstance(device, str) else device
        self.teleop = Teleoperator(robot, self.device)
        self.commander = Commander(robot)
        self.now_ns = 1_000_000_000
        self.q = np.array(robot.home_rad if q is None else q, dtype=float)
        self.dq = np.zeros(7)
        self.input: Callable[[Bench], None] = lambda bench: None
        self.width_m = 0.08
        self.ticks = 0
        self.blocked = False  # the arm stands still, whatever it is told
        self.path: list[np.ndarray] = []
        self.speeds: list[np.ndarray] = []
        self.chunks: list[Chunk] = []

    @property
    def now_s(self) -> float:
        return self.now_ns * 1e-9

    @property
    def tcp(self) -> np.ndarray:
        return forward(self.q)

    def engage(self) -> None:
        self.run(0.1)
        self.commander.engage(self.now_ns)
        self.run(0.4)

    def run(self, duration_s: float) -> None:
        for _ in range(round(duration_s * 1e9 / TICK_NS)):
            self.step()

    def step(self) -> None:
        self.now_ns += TICK_NS
        self.ticks += 1
        self.commander.on_joints(self.now_ns, self.q, self.dq, self.now_ns)
        self.commander.on_gripper(self.width_m)
        output = self.commander.tick(self.now_ns)
        arm = self.teleop.arm
        if output.gripper_m is not None:
            self.width_m = output.gripper_m
        if output.label:
            label = output.label
            arm.on_commanded(
                Commanded(
                    label.position[:7],
                    label.velocity[:7],
                    float(label.position[7]),
                    label.source,
                ),
                self.now_s,
            )
            if not self.blocked:
                self.q, self.dq = label.position[:7].copy(), label.velocity[:7].copy()
        arm.on_measured(self.q, self.now_s)
        arm.on_width(self.width_m)
        arm.on_commander(self.commander.state.value, self.now_s)
        if self.ticks % TELEOP_TICKS == 0:
            self.input(self)
            self._publish(self.teleop.tick(self.now_s))
        self.path.append(self.tcp[:3, 3])
        self.speeds.append(self.dq)

    def _publish(self, rows: np.ndarray | None) -> None:
        if rows is None:
            return
        chunk = Chunk(
            self.now_ns,
            self.robot.policy.period_ns,
            self.robot.action_names,
            rows,
            fingerprint(self.robot),
            self.device.source,
        )
        self.chunks.append(chunk)
        self.commander.on_chunk(chunk, self.now_ns)


def push(*deflection: float, held: tuple[str, ...] = ()) -> Callable[[Bench], None]:
    """A stick held at these deflections, with the buttons of these actions."""
    full = np.zeros(6)
    full[: len(deflection)] = deflection

    def send(bench: Bench) -> None:
        bench.teleop.on_buttons(frozenset(held), bench.now_s)
        bench.teleop.on_motion(full, bench.now_s)

    return send


def place(pose: np.ndarray, *held: str) -> Callable[[Bench], None]:
    """A tracked hand or a leader arm that stays there, with the buttons of these actions."""

    def send(bench: Bench) -> None:
        if bench.device.buttons:
            bench.teleop.on_buttons(frozenset(held), bench.now_s)
        bench.teleop.on_motion(pose, bench.now_s)

    return send
