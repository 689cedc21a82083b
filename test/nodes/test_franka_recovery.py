"""The recovery of franka_ros2 and of a fork, step by step, against the stand-in over real services and actions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rehearsal import Rehearsal, rehearse, variant, wait_until

from hpt_ros.control.robot_health import MODES
from hpt_ros.embodiment import load_embodiment

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
pytest.importorskip("franka_msgs", reason="needs franka_msgs (make setup builds it)")

IDLE, REFLEX, USER_STOPPED = (MODES.index(mode) for mode in ("IDLE", "REFLEX", "USER_STOPPED"))


@pytest.mark.parametrize("preset", ["fr3", "panda_multipanda"])
def test_a_robot_in_error_is_brought_back(
    ros_env: dict[str, str],
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    preset: str,
) -> None:
    from hpt_ros.nodes.backends.franka_recovery import FrankaRecovery, RecoveryFailed

    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOG_DIR"):
        monkeypatch.setenv(name, ros_env[name])
    path = variant(tmp_path, preset)
    embodiment = load_embodiment(path)
    assert embodiment.recovery is not None
    with rehearse(int(ros_env["ROS_DOMAIN_ID"]), embodiment) as robot:
        recovery = FrankaRecovery(robot.node, embodiment.recovery)
        with pytest.raises(RecoveryFailed, match=f"nobody serves {embodiment.recovery.topic}"):
            recovery.recover(0.2)
        start("hpt_ros.standin.standin_node", "-p", f"embodiment:={path}")
        wait_until(lambda: robot.state is not None, "robot state")
        robot.inject(error="joint_reflex")
        wait_until(lambda: robot.state.robot_mode == REFLEX and robot.state.current_errors.joint_reflex, "reflex")
        assert controllers(robot) == {"inactive"}
        done = recovery.recover(60.0)
        assert done.startswith("errors cleared")
        assert all(name in done for name in embodiment.recovery.controllers)
        assert controllers(robot) == {"active"}
        wait_until(lambda: robot.state.robot_mode == IDLE, "recovery")
        assert robot.state.last_motion_errors.joint_reflex

        robot.inject(user_stopped=True)
        wait_until(lambda: robot.state.robot_mode == USER_STOPPED, "user stop")
        with pytest.raises(RecoveryFailed, match="user stop"):
            recovery.recover(60.0)


def controllers(robot: Rehearsal) -> set[str]:
    """States of the controllers, as the controller manager tells them."""
    from controller_manager_msgs.srv import ListControllers

    assert robot.embodiment.recovery is not None
    name = f"{robot.embodiment.recovery.controller_manager}/list_controllers"
    return {controller.state for controller in robot.call(ListControllers, name, ListControllers.Request()).controller}
