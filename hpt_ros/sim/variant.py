"""Other robots out of the simulated Panda: another place of the arm, a longer tool, other cameras, other colours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.configuration import check
from hpt_ros.sim.expert import Sight

Point = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """A camera that looks from one point [m] at another, with its vertical field of view [deg]."""

    eye_m: Point
    target_m: Point
    fovy_deg: float = 46.0

    def __post_init__(self) -> None:
        across = math.dist(self.eye_m[:2], self.target_m[:2])
        check(across > 1e-3, "eye_m", list(self.eye_m), "not straight above or below target_m")
        check(5 <= self.fovy_deg <= 120, "fovy_deg", self.fovy_deg, "5 to 120")

    @property
    def xyaxes(self) -> list[float]:
        """The picture's right and up in the world, (6,)."""
        ahead = np.subtract(self.target_m, self.eye_m)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        up = np.cross(right, ahead)
        return [*(right / np.linalg.norm(right)), *(up / np.linalg.norm(up))]


@dataclass(frozen=True)
class Variant:
    """What differs from the usual scene; nothing by default.

    base_m, base_yaw_rad: where the arm stands on the table and how it is turned; goals and success stay in the world's frame.
    tool_m: by how much the hand sits farther from the flange; the tool centre point moves with it.
    views: by name, cameras that are moved. colours: by name of a material, red, green and blue from 0 to 1.
    """

    base_m: tuple[float, float] = (0.0, 0.0)
    base_yaw_rad: float = 0.0
    tool_m: float = 0.0
    views: Mapping[str, View] = field(default_factory=dict)
    colours: Mapping[str, Point] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(0 <= self.tool_m <= 0.15, "tool_m", self.tool_m, "0 to 0.15")

    def apply(self, spec: Any) -> None:
        """Change MuJoCo's description of the scene, before it is compiled."""
        for name, view in self.views.items():
            camera = spec.camera(name)
            check(camera is not None, "views", name, f"a camera of the scene: {_names(spec.cameras)}")
            camera.pos, camera.alt.xyaxes, camera.fovy = view.eye_m, view.xyaxes, view.fovy_deg
        for name, rgb in self.colours.items():
            material = spec.material(name)
            check(material is not None, "colours", name, f"a material of the scene: {_names(spec.materials)}")
            material.rgba = [*rgb, 1.0]
        base, hand = spec.body("link0"), spec.body("hand")
        base.pos = [*self.base_m, 0.0]
        base.quat = [math.cos(self.base_yaw_rad / 2), 0.0, 0.0, math.sin(self.base_yaw_rad / 2)]
        hand.pos = np.add(hand.pos, [0.0, 0.0, self.tool_m])

    def seen_from_base(self, seen: Sight) -> Sight:
        """What is seen in the world's frame, in that of the arm's base."""
        return replace(
            seen,
            cube_m=self._from_base(seen.cube_m),
            goal_m=self._from_base(seen.goal_m),
            cube_yaw_rad=seen.cube_yaw_rad - self.base_yaw_rad,
        )

    def _from_base(self, point_m: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y, z = point_m - [*self.base_m, 0.0]
        cosine, sine = math.cos(self.base_yaw_rad), math.sin(self.base_yaw_rad)
        return np.array([cosine * x + sine * y, cosine * y - sine * x, z])


def _names(parts: Any) -> str:
    return ", ".join(part.name for part in parts)
