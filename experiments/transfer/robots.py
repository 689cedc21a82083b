"""The simulated robots: four to pre-train on, and one that is held out. They differ in where the arm stands, in tool, cameras and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.embodiment.columns import ActionKind
from hpt_ros.sim.variant import Variant, View

CENTRE = (0.46, 0.0, 0.05)  # of what the cameras look at
RATE_HZ, ACTION_ROWS, EXECUTED_ROWS = 10.0, 16, 6


@dataclass(frozen=True)
class Robot:
    """One robot; `cameras` are those of the scene that it has."""

    name: str
    variant: Variant
    cameras: Sequence[str] = ("front", "wrist")

    def embodiment(self, pixels: int, kind: ActionKind = "joint_position") -> Embodiment:
        """Its contract, with square images of so many pixels."""
        panda = load_embodiment("sim_panda")
        first, *others = panda.home_rad
        return replace(
            panda,
            name=self.name,
            action=replace(panda.action, kind=kind),
            description=f"Simulated arm {self.name} of the transfer experiment",
            cameras=tuple(replace(c, size_px=(pixels, pixels)) for c in panda.cameras if c.name in self.cameras),
            policy=replace(panda.policy, rate_hz=RATE_HZ, action_horizon=ACTION_ROWS, execute_rows=EXECUTED_ROWS),
            home_rad=(first - self.variant.base_yaw_rad, *others),  # it faces the table wherever its base does
        )


PRETRAINED = {
    robot.name: robot
    for robot in (
        Robot(
            "left",
            Variant(
                base_m=(0.02, -0.05),
                base_yaw_rad=0.30,
                views={"front": View((1.10, 0.55, 0.65), CENTRE)},
                colours={"table": (0.30, 0.42, 0.55)},
            ),
        ),
        Robot(
            "long",
            Variant(
                tool_m=0.06,
                views={"front": View((1.20, -0.25, 0.80), CENTRE)},
                colours={"table": (0.80, 0.80, 0.76), "shell": (0.22, 0.24, 0.28)},
            ),
        ),
        Robot(
            "high",
            Variant(
                base_m=(-0.02, 0.06),
                base_yaw_rad=-0.35,
                tool_m=0.02,
                views={"front": View((0.95, 0.10, 1.05), CENTRE)},
                colours={"table": (0.45, 0.52, 0.40), "shell": (0.95, 0.80, 0.30)},
            ),
        ),
        Robot("wrist_only", Variant(base_yaw_rad=0.15, colours={"table": (0.55, 0.45, 0.55)}), ("wrist",)),
    )
}
HELD_OUT = Robot(
    "held_out",
    Variant(
        base_m=(0.0, 0.04),
        base_yaw_rad=-0.20,
        tool_m=0.04,
        views={"front": View((1.05, -0.60, 0.60), CENTRE)},
        colours={"table": (0.36, 0.30, 0.27), "shell": (0.90, 0.55, 0.35)},
    ),
)
