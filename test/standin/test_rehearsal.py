"""Every back-end over real topics: commander and stand-in as processes, motion arrives, the robot does not stop by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rehearsal import Rehearsal, Start, rehearse, variant, wait_until

from hpt_ros.control.kinematics import forward
from hpt_ros.control.robot_health import MODES
from hpt_ros.embodiment import load_embodiment

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
pytest.importorskip("franka_msgs", reason="needs franka_msgs (make setup builds it)")

Rehearse = Callable[..., Rehearsal]
STEP = np.array([0.15, 0.1, -0.1, 0.15, 0.1, -0.1, 0.15])


def join(ros_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOG_DIR"):
        monkeypatch.setenv(name, ros_env[name])


@pytest.fixture
def bring_up(ros_env: dict[str, str], start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearse]:
    join(ros_env, monkeypatch)
    with ExitStack() as stack:

        def bring_up(path: Path, namespace: str = "", mock_hardware: bool = False) -> Rehearsal:
            below = ("-r", f"__ns:={namespace}") if namespace else ()
            # as the launch files and a real robot's side: who is late makes a jump
            first = ("-p", "realtime_priority:=-1")
            mock = ("-p", f"mock_hardware:={str(mock_hardware).lower()}")
            start("hpt_ros.standin.standin_node", "-p", f"embodiment:={path}", *first, *mock, *below)
            start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={path}", *first, *below)
            return stack.enter_context(rehearse(int(ros_env["ROS_DOMAIN_ID"]), load_embodiment(path), namespace))

        yield bring_up


def is_brought_back(robot: Rehearsal, flag: str) -> None:
    """An error while the arm is commanded: the fault names it and stays until a person has recovered the robot and reset it."""
    robot.inject(error=flag)
    wait_until(lambda: robot.status.state == "FAULT", "fault", lambda: robot.status.state)
    assert flag in robot.status.reason
    wait_until(lambda: robot.modes[-1] == MODES.index("REFLEX"), "reflex")
    assert not robot.wish("engage").success
    stopped = robot.q

    assert robot.wish("recover_errors").success
    outcome = ("recovered: errors cleared", "recovery failed")
    wait_until(lambda: any(text in robot.status.reason for text in outcome), "recovery", lambda: robot.status.reason)
    assert outcome[0] in robot.status.reason
    assert robot.status.state == "FAULT", "a person has not reset it"
    assert not robot.wish("engage").success
    assert robot.wish("reset").success
    wait_until(lambda: robot.modes[-1] == MODES.index("IDLE"), "a robot without error")
    np.testing.assert_allclose(robot.q, stopped, atol=0.02, err_msg="recovery moves nothing")
    robot.engage()


def test_fr3_moves_and_grips_and_its_error_is_a_fault(bring_up: Rehearse, tmp_path: Path) -> None:
    robot = bring_up(variant(tmp_path, "fr3", gripper_homing=True, rate_hz=50.0))  # 60 ms of motion in hand, not 30
    refusals = robot.engage()
    assert any("being homed" in refusal for refusal in refusals)
    home = robot.q
    robot.go(home + STEP)

    robot.width_m = 0.0
    wait_until(lambda: robot.measured_width_m < 0.005, "a closed hand", lambda: robot.measured_width_m)
    robot.width_m = 0.08
    wait_until(lambda: robot.measured_width_m > 0.075, "an open hand", lambda: robot.measured_width_m)
    assert MODES.index("REFLEX") not in robot.modes
    assert MODES.index("MOVE") in robot.modes

    robot.target = home
    is_brought_back(robot, "cartesian_reflex")
    robot.go(home)


@pytest.mark.parametrize("preset", ["fr3_crisp", "fr3_crisp_pose", "panda_multipanda"])
def test_impedance_controllers_follow(bring_up: Rehearse, tmp_path: Path, preset: str) -> None:
    robot = bring_up(variant(tmp_path, preset, gripper_backend="none"))
    robot.engage()
    target = robot.q + 0.7 * STEP
    if preset == "fr3_crisp_pose":  # which joints bring the tool there is the controller's affair
        robot.go(target, forward)
    else:
        robot.go(target)
    assert MODES.index("REFLEX") not in robot.modes
    if preset == "panda_multipanda":  # the fork has a service of its own for it
        is_brought_back(robot, "joint_reflex")
        robot.go(target)


@pytest.mark.parametrize("backend", ["joint_position", "joint_velocity"])
def test_set_points_are_for_mock_hardware(bring_up: Rehearse, tmp_path: Path, backend: str) -> None:
    command = {"backend": backend, "topic": f"/{backend}/commands", "gripper_backend": "none", "unbraked": True}
    robot = bring_up(variant(tmp_path, "panda", **command), mock_hardware=True)
    robot.engage()
    start, way = robot.q, 0.7 * STEP
    robot.target = start + way  # velocities alone: what is lost on the way is not made up for
    wait_until(lambda: ((robot.q - start) / way).min() > 0.8, "motion", lambda: (robot.q - start) / way)


def test_all_of_it_stands_below_a_namespace(bring_up: Rehearse, tmp_path: Path) -> None:
    """Nothing of the two nodes stands outside /left."""
    gripper = {"gripper_backend": "gripper_command", "gripper_topic": "/panda_gripper/gripper_action"}
    robot = bring_up(variant(tmp_path, "panda", **gripper), "/left", mock_hardware=True)
    robot.engage()
    robot.go(robot.q + STEP)
    robot.width_m = 0.0
    wait_until(lambda: robot.measured_width_m < 0.005, "a closed hand", lambda: robot.measured_width_m)
    names = [name for name, _ in robot.node.get_topic_names_and_types() if not name.startswith("/left/")]
    assert set(names) <= {"/diagnostics", "/parameter_events", "/rosout"}


def test_a_dry_run_does_all_but_move(
    start: Start, ros_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpt_ros.msg import Command

    join(ros_env, monkeypatch)
    path = variant(tmp_path, "panda")
    start("hpt_ros.standin.standin_node", "-p", f"embodiment:={path}")
    start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={path}", "-p", "dry_run:=true")
    with rehearse(int(ros_env["ROS_DOMAIN_ID"]), load_embodiment(path)) as robot:
        labels: list[Any] = []
        robot.node.create_subscription(Command, "/hpt_ros/dry_run/command", labels.append, 10)
        robot.engage()
        home = robot.q
        robot.target = home + STEP
        robot.width_m = 0.0
        reached = [*robot.target, 0.0]
        wait_until(
            lambda: labels and np.abs(np.array(labels[-1].position) - reached).max() < 1e-3, "the intended motion"
        )
        assert np.abs(robot.q - home).max() < 1e-3
        assert robot.measured_width_m > 0.07
        for topic in (robot.embodiment.command.topic, robot.embodiment.command.record_topic):
            assert robot.node.count_publishers(topic) == 0
