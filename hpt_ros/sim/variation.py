"""Changes of what the cameras see, to ask how far a policy has learned the task and how far the scene. The physics stay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hpt_ros.errors import ConfigError
from hpt_ros.sim.scene import mujoco


@dataclass(frozen=True)
class Variation:
    """`light` multiplies every lamp; `camera_shift_m` and `camera_turn_rad` move the front camera, sideways, up and about the vertical."""

    light: float = 1.0
    cube_rgb: tuple[float, float, float] | None = None
    table_rgb: tuple[float, float, float] | None = None
    camera_shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    camera_turn_rad: float = 0.0

    def apply(self, model: mujoco.MjModel) -> None:
        """Change a model that nothing was drawn of yet."""
        for name in ("ambient", "diffuse", "specular"):
            getattr(model.vis.headlight, name)[:] = getattr(model.vis.headlight, name) * self.light
        model.light_diffuse[:] = model.light_diffuse * self.light
        for material, rgb in (("cube", self.cube_rgb), ("table", self.table_rgb)):
            if rgb is not None:
                model.material(material).rgba[:3] = rgb
        camera = model.camera("front")
        camera.pos[:] = camera.pos + np.asarray(self.camera_shift_m)
        turn = np.array([math.cos(self.camera_turn_rad / 2), 0.0, 0.0, math.sin(self.camera_turn_rad / 2)])
        turned = np.zeros(4)
        mujoco.mju_mulQuat(turned, turn, np.array(camera.quat, dtype=float))
        camera.quat[:] = turned


VARIATIONS = {
    "none": Variation(),
    "dim": Variation(light=0.6),
    "bright": Variation(light=1.4),
    "camera": Variation(camera_shift_m=(0.0, 0.03, 0.02), camera_turn_rad=math.radians(2)),
    "cube": Variation(cube_rgb=(0.13, 0.35, 0.88)),
    "cube_orange": Variation(cube_rgb=(0.90, 0.50, 0.10)),
    "table": Variation(table_rgb=(0.45, 0.50, 0.55)),
}


def variation_named(name: str) -> Variation:
    """A variation by its name.

    Raises:
        ConfigError: there is no such variation.
    """
    if name not in VARIATIONS:
        raise ConfigError("variation", name, f"one of {', '.join(VARIATIONS)}")
    return VARIATIONS[name]
