"""The MuJoCo model of the simulated Panda, and the environment that MuJoCo wants to be imported in."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is imported

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import MissingDependencyError

__all__ = [
    "PICTURE_CAMERA",
    "Indices",
    "camera_names",
    "goal_position",
    "graphics_error",
    "indices",
    "load_model",
    "load_picture_model",
    "mujoco",
]

SCENE_FILE = Path(__file__).parent / "assets" / "panda_scene.xml"
PICTURE_CAMERA = "overview"
_HIDDEN_M = (0.0, 0.0, -2.0)  # below the floor
_GRAPHICS_REMEDY = (
    "install the graphics libraries (Debian/Ubuntu: apt install libegl1 libgl1-mesa-dri); "
    "or libosmesa6 and set MUJOCO_GL=osmesa; physics without images: MUJOCO_GL=disable"
)


def graphics_error(cause: object) -> MissingDependencyError:
    """The refusal to draw, with the system packages that are needed."""
    backend = os.environ.get("MUJOCO_GL", "")
    return MissingDependencyError(f"cannot draw with MUJOCO_GL={backend}: {cause}", _GRAPHICS_REMEDY)


try:
    import mujoco
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        f"the simulator is not installed ({error})", "make setup, or pip install 'hpt_ros[sim]'"
    ) from error
except (ImportError, AttributeError, RuntimeError) as error:  # PyOpenGL fails with whatever the absent library leads to
    raise graphics_error(error) from error


mujoco.set_mju_user_warning(logging.getLogger(__name__).warning)  # else it writes MUJOCO_LOG.TXT where one stands


@dataclass(frozen=True)
class Indices:
    """Where the parts lie in MuJoCo's vectors."""

    arm_qpos: NDArray[np.intp]
    arm_dof: NDArray[np.intp]
    fingers_qpos: NDArray[np.intp]
    fingers_dof: NDArray[np.intp]
    cube_qpos: slice
    arm_position: NDArray[np.intp]  # actuators
    arm_velocity: NDArray[np.intp]
    width: int
    tcp: int  # site
    goal: int  # mocap body


class Change(Protocol):
    """Something that changes MuJoCo's description of the scene, such as `hpt_ros.sim.variant.Variant`."""

    def apply(self, spec: Any) -> None: ...


def load_model(timestep_s: float = 0.001, change: Change | None = None) -> mujoco.MjModel:
    """The scene as it is simulated: drawn without shadows, reflections or anti-aliasing."""
    spec = mujoco.MjSpec.from_file(str(SCENE_FILE))
    if change is not None:
        change.apply(spec)
    model = spec.compile()
    model.opt.timestep = timestep_s
    return model


def load_picture_model() -> mujoco.MjModel:
    """The same scene drawn with shadows and anti-aliasing, far too slow for the cameras."""
    spec = mujoco.MjSpec.from_file(str(SCENE_FILE))
    spec.visual.quality.shadowsize = 8192
    spec.visual.map.shadowclip = 1.5
    spec.visual.quality.offsamples = 8
    spec.visual.quality.numslices = 64
    spec.visual.quality.numstacks = 32
    spec.lights[0].castshadow = True
    return spec.compile()


def indices(model: mujoco.MjModel) -> Indices:
    """Look every part of the scene up by its name."""

    def joints(names: list[str], field: str) -> NDArray[np.intp]:
        return np.array([getattr(model.joint(name), field)[0] for name in names], dtype=np.intp)

    def actuators(kind: str) -> NDArray[np.intp]:
        return np.array([model.actuator(f"{kind}{i}").id for i in range(1, 8)], dtype=np.intp)

    arm, fingers = [f"joint{i}" for i in range(1, 8)], ["left_finger", "right_finger"]
    cube = int(model.joint("cube").qposadr[0])
    return Indices(
        arm_qpos=joints(arm, "qposadr"),
        arm_dof=joints(arm, "dofadr"),
        fingers_qpos=joints(fingers, "qposadr"),
        fingers_dof=joints(fingers, "dofadr"),
        cube_qpos=slice(cube, cube + 7),
        arm_position=actuators("position"),
        arm_velocity=actuators("velocity"),
        width=int(model.actuator("width").id),
        tcp=int(model.site("tcp").id),
        goal=int(model.body("goal").mocapid[0]),
    )


def camera_names(model: mujoco.MjModel) -> list[str]:
    """Cameras that the scene has, the picture's included."""
    return [model.camera(i).name for i in range(model.ncam)]


def goal_position(goal_m: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Where the goal's disc is drawn (3,) [m]: at the goal, or out of sight when the task marks none."""
    return np.array(_HIDDEN_M) if goal_m is None else np.array([goal_m[0], goal_m[1], 0.0])
