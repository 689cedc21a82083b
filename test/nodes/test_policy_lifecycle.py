"""policy_node as a managed node: active by itself, stopped and started again by whoever manages it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rehearsal import wait_until

from hpt_ros.embodiment import load_embodiment

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

WAIT_S = 60.0


def checkpoint(folder: Path) -> Path:
    from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint

    robot = load_embodiment("sim_panda")
    robot = replace(robot, cameras=tuple(replace(camera, size_px=(16, 16)) for camera in robot.cameras))
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), robot)
    rows = np.random.default_rng(0).uniform(-1, 1, (50, 8))
    policy.scaling.fit(rows, rows)
    save_checkpoint(folder / "checkpoint", policy.eval(), robot, {})
    return folder / "checkpoint"


def test_it_is_active_by_itself_and_can_be_stopped_and_started(
    ros_env: dict[str, str],
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    from hpt_ros.nodes.session import Session

    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOG_DIR"):
        monkeypatch.setenv(name, ros_env[name])
    start("hpt_ros.nodes.policy_node", "-p", f"checkpoint:={checkpoint(tmp_path)}")
    with Session(lambda: None, int(ros_env["ROS_DOMAIN_ID"])) as session:
        get_state = session.node.create_client(GetState, "/policy_node/get_state")

        def state() -> str:
            session.wait_for("get_state", get_state.service_is_ready, WAIT_S)
            future = get_state.call_async(GetState.Request())
            session.wait_for("a state", future.done, WAIT_S)
            label: str = future.result().current_state.label
            return label

        def change(transition: int) -> None:
            request = ChangeState.Request(transition=Transition(id=transition))
            session.call(ChangeState, "/policy_node/change_state", request, WAIT_S)

        def reason() -> str:
            text: str = session.latest["policy"].reason
            return text

        session.wait_for_status("policy", WAIT_S)
        wait_until(lambda: state() == "active", "an active node")
        wait_until(lambda: "nothing received" in reason(), "ticks", reason)
        change(Transition.TRANSITION_DEACTIVATE)
        wait_until(lambda: reason() == "the policy is not active", "the end of ticks", reason)
        change(Transition.TRANSITION_CLEANUP)
        assert state() == "unconfigured"
        change(Transition.TRANSITION_CONFIGURE)
        change(Transition.TRANSITION_ACTIVATE)
        wait_until(lambda: "nothing received" in reason(), "ticks", reason)
