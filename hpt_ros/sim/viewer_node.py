"""A window on the simulated scene, in a process of its own: graphics that hang or are closed do not touch the simulation."""

from __future__ import annotations

import os
import sys
from typing import Any

import mujoco
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import MissingDependencyError
from hpt_ros.msg import SimStatus
from hpt_ros.nodes.runtime import HptNode, run_node
from hpt_ros.sim.scene import goal_position, indices, load_picture_model
from hpt_ros.sim.tasks import task_named

_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_PERIOD_S = 1 / 30


class ViewerNode(HptNode):
    """Parameters and wiring: joint states and SimStatus -> MuJoCo's viewer. Closing the window ends the process.

    Parameter: embodiment (preset or file).

    Raises:
        MissingDependencyError: there is no display, or no OpenGL on it.
    """

    def __init__(self) -> None:
        super().__init__("viewer_node")
        embodiment = load_embodiment(self.declare_parameter("embodiment", "sim_panda").value)
        self._model = load_picture_model()
        self._data = mujoco.MjData(self._model)
        self._at = indices(self._model)
        self._viewer = _open(self._model, self._data)
        self._scene: tuple[str, int] | None = None
        self._arm, self._fingers = list(embodiment.joints.names), embodiment.gripper.names if embodiment.gripper else ()
        self.create_subscription(JointState, embodiment.joints.topic, self._on_joints, _NEWEST)
        if embodiment.gripper:
            self.create_subscription(JointState, embodiment.gripper.topic, self._on_gripper, _NEWEST)
        self.create_subscription(SimStatus, "/hpt_ros/sim/status", self._on_status, _NEWEST)
        self.create_timer(_PERIOD_S, self._draw)

    def close(self) -> None:
        self._viewer.close()

    def _on_joints(self, message: Any) -> None:
        by_name = dict(zip(message.name, message.position, strict=False))
        self._data.qpos[self._at.arm_qpos] = [by_name[name] for name in self._arm]

    def _on_gripper(self, message: Any) -> None:
        by_name = dict(zip(message.name, message.position, strict=False))
        self._data.qpos[self._at.fingers_qpos] = [by_name[name] for name in self._fingers]

    def _on_status(self, message: Any) -> None:
        p, o = message.object.position, message.object.orientation
        self._data.qpos[self._at.cube_qpos] = [p.x, p.y, p.z, o.w, o.x, o.y, o.z]
        if self._scene != (scene := (message.task, message.seed)):
            self._scene = scene
            mark_m = task_named(message.task).start(message.seed).mark_m
            self._data.mocap_pos[self._at.goal] = goal_position(mark_m)

    def _draw(self) -> None:
        if not self._viewer.is_running():
            raise KeyboardInterrupt  # the window was closed: as if the person had pressed Ctrl-C
        mujoco.mj_forward(self._model, self._data)
        self._viewer.sync()


def _open(model: mujoco.MjModel, data: mujoco.MjData) -> Any:
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise MissingDependencyError("there is no display for a window", "run it on a desktop, or with ssh -X")
    try:
        import mujoco.viewer

        return mujoco.viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False)
    except (ImportError, RuntimeError) as error:
        raise MissingDependencyError(
            f"no window can be opened: {error}", "check the display's OpenGL driver"
        ) from error


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run hpt_ros viewer_node`."""
    return run_node(ViewerNode, args)


if __name__ == "__main__":
    sys.exit(main())
