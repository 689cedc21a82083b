"""The model: the real arm's kinematics, limits and masses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpt_ros.control.kinematics import forward, jacobian
from hpt_ros.control.limits import TABLES
from hpt_ros.embodiment import load_embodiment
from hpt_ros.sim.scene import indices, load_model, mujoco
from hpt_ros.sim.tasks import MAX_WIDTH_M, READY_RAD


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return load_model()


def pose(model: mujoco.MjModel, q: np.ndarray) -> tuple[mujoco.MjData, np.ndarray]:
    data, at = mujoco.MjData(model), indices(model)
    data.qpos[at.arm_qpos] = q
    mujoco.mj_forward(model, data)
    matrix = np.eye(4)
    matrix[:3, :3] = data.site_xmat[at.tcp].reshape(3, 3)
    matrix[:3, 3] = data.site_xpos[at.tcp]
    return data, matrix


@pytest.mark.parametrize(
    ("q", "tcp"),
    [
        (READY_RAD, (0.306891, 0.0, 0.486882)),
        ((0, -np.pi / 5, 0, -4 * np.pi / 5, 0, 3 * np.pi / 5, 0), (0.359703, 0.0, 0.386541)),
        ((0.0,) * 7, (0.088, 0.0, 0.926 - 0.1034)),
    ],
)
def test_tcp_at_published_postures(model: mujoco.MjModel, q: tuple[float, ...], tcp: tuple[float, ...]) -> None:
    np.testing.assert_allclose(pose(model, np.array(q))[1][:3, 3], tcp, atol=1e-6)


def test_kinematics_agree_with_the_control_package(model: mujoco.MjModel) -> None:
    rng, at, table = np.random.default_rng(0), indices(model), TABLES["fer"]
    for _ in range(50):
        q = rng.uniform(table.position_min, table.position_max)
        data, matrix = pose(model, q)
        np.testing.assert_allclose(matrix, forward(q), atol=1e-6)
        linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, linear, angular, at.tcp)
        np.testing.assert_allclose(np.vstack([linear, angular])[:, at.arm_dof], jacobian(q), atol=1e-6)


def test_limits_are_those_of_the_robot(model: mujoco.MjModel) -> None:
    table = TABLES["fer"]
    ranges = np.array([model.joint(f"joint{i}").range for i in range(1, 8)])
    np.testing.assert_array_equal(ranges, np.transpose([table.position_min, table.position_max]))
    torques = [model.jnt_actfrcrange[model.joint(f"joint{i}").id][1] for i in range(1, 8)]
    assert torques == [87.0] * 4 + [12.0] * 3


def test_start_pose_and_hand_are_those_of_the_embodiment() -> None:
    embodiment = load_embodiment("sim_panda")
    assert embodiment.home_rad == READY_RAD
    assert embodiment.gripper is not None
    assert embodiment.gripper.max_width_m == MAX_WIDTH_M


def test_missing_graphics_library_names_the_packages(tmp_path: Path) -> None:
    broken = tmp_path / "OpenGL"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise AttributeError(\"'NoneType' object has no attribute 'glGetError'\")\n")
    code = (
        "from hpt_ros.errors import MissingDependencyError\n"
        "try:\n"
        "    from hpt_ros.sim.offline import OfflineScene\n"
        "    OfflineScene('reach')\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "MUJOCO_GL": "osmesa"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "libegl1 libgl1-mesa-dri" in done.stdout, done.stderr
    assert "MUJOCO_GL=osmesa" in done.stdout
