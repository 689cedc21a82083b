"""Every kind of action over real topics: a policy that knows the demonstration brings the simulated arm to the same goal.

How far it keeps within the limits is a matter of when chunks arrive: tested on a clock of its own, with the commander.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from patient_robot import patient_panda
from sensor_msgs.msg import JointState

from hpt_ros.control.actions import action_space
from hpt_ros.control.chunk import POLICY
from hpt_ros.embodiment import embodiment_to
from hpt_ros.embodiment.columns import ActionKind
from hpt_ros.embodiment.schema import Action
from hpt_ros.nodes.chunk_publisher import ChunkPublisher
from hpt_ros.nodes.runtime import RELIABLE_10
from hpt_ros.nodes.session import Session
from hpt_ros.sim.expert import plan
from hpt_ros.sim.expert_node import _sight

STARTS_S = 60.0


@pytest.fixture
def session(ros_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as client:
        yield client


@pytest.mark.parametrize("kind", ["joint_delta", "ee_pose", "ee_delta"])
def test_the_goal_is_reached(
    kind: ActionKind, session: Session, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    robot = replace(patient_panda(), action=Action(kind))
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump(embodiment_to(robot)))
    start("hpt_ros.sim.sim_node", "-p", f"embodiment:={file}", "-p", "image_height:=16", "-p", "image_width:=16")
    start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={file}")
    measured: list[JointState] = []
    session.node.create_subscription(JointState, robot.joints.topic, measured.append, RELIABLE_10)
    chunks = ChunkPublisher(session.node, robot, POLICY)
    session.wait_for("the nodes", lambda: measured and {"sim", "commander"} <= session.latest.keys(), STARTS_S)

    def state() -> np.ndarray:
        return np.array([*measured[-1].position, robot.gripper.max_width_m])

    motion = plan("reach", state()[:7], _sight(session.latest["sim"]))
    session.engage()
    space, policy, clock = action_space(robot), robot.policy, session.node.get_clock()
    began_ns = clock.now().nanoseconds + 10**9

    def act() -> None:
        tick, seen = clock.now(), state()
        rows = motion.rows((tick.nanoseconds - began_ns) * 1e-9, policy.period_ns * 1e-9, policy.action_horizon)
        chunks.publish(space.decode(space.encode(rows, seen), seen), tick)

    session.node.create_timer(1 / policy.rate_hz, act)
    session.wait_for("the goal", lambda: session.latest["sim"].success, 40.0)
    status = session.latest["commander"]
    assert (status.state, status.source) == ("RUNNING", POLICY), status.reason
    assert (status.chunks_rejected, status.last_rejection) == (0, "")
