"""What `hpt-ros doctor --live` says of a running robot: its judgement, then the whole command beside the stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rehearsal import rehearse, variant, wait_until

from hpt_ros.control.robot_health import MODES, RobotHealth
from hpt_ros.embodiment import load_embodiment

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from hpt_ros.cli.live import judge
from hpt_ros.nodes.live_probe import Listener, LiveFacts, StreamFacts

FR3 = load_embodiment("fr3")
WELL = RobotHealth("IDLE", (), 0.0)
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
CONTROLLER = Listener("/fr3_arm_controller", TRAJECTORY)


def stream(index: int, **changes: Any) -> StreamFacts:
    spec = FR3.streams()[index]
    facts = StreamFacts(spec, ("/driver",), (spec.msgtype,), True, spec.rate_hz, (0.001, 0.02), 0)
    return replace(facts, **changes)


def facts(**changes: Any) -> LiveFacts:
    assert FR3.recovery is not None
    active = dict.fromkeys(FR3.recovery.controllers, "active")
    streams = tuple(stream(i) for i in range(len(FR3.streams())))
    return replace(LiveFacts(streams, ("/commander_node",), (CONTROLLER,), TRAJECTORY, active, WELL), **changes)


def wrong(found: LiveFacts) -> list[tuple[str, str, str]]:
    return [(f.name, f.seen, f.remedy) for f in judge(FR3, found) if not f.ok]


def test_a_robot_that_is_well_has_no_finding() -> None:
    assert wrong(facts()) == []


@pytest.mark.parametrize(
    ("changes", "seen", "remedy"),
    [
        ({"publishers": (), "types": (), "age_s": None}, "nobody publishes it", "start its driver"),
        ({"types": ("std_msgs/msg/String",)}, "std_msgs/msg/String from /driver", "the embodiment expects"),
        ({"publishers": ("/a", "/b")}, "published by /a, /b", "stop all but one"),
        ({"rate_hz": 3.0}, "3.0 Hz, reliable", "are expected"),
        ({"rate_hz": 7.0, "reliable": False}, "7.0 Hz, best effort", "large best-effort images lose fragments"),
        ({"age_s": (0.3, 0.5)}, "500 ms old", "reduce the delay"),
        ({"age_s": None, "rate_hz": 0.0}, "nothing arrives", "QoS"),
        ({"unstamped": 4}, "4 without a stamp", "stamp its messages"),
        ({"disordered": 3}, "3 stamps not newer", "stamp each sample once"),
    ],
)
def test_a_camera_that_is_not_well(changes: dict[str, Any], seen: str, remedy: str) -> None:
    camera = stream(2, **changes)
    ((name, found, advice),) = wrong(facts(streams=(stream(0), stream(1), camera, stream(3))))
    assert name == "camera.front /front/front/color/image_raw"
    assert seen in found
    assert remedy in advice


@pytest.mark.parametrize(
    ("changes", "name", "seen"),
    [
        ({"streams": (stream(0, age_s=(-0.2, 0.01)),)}, "clocks", "-200.0 ms old"),
        ({"command_publishers": ("/commander_node", "/intruder")}, "command", "/intruder"),
        ({"command_subscribers": ()}, "command", "nobody listens"),
        (
            {"command_subscribers": (replace(CONTROLLER, msgtype="std_msgs/msg/Float64MultiArray"),)},
            "command",
            "/fr3_arm_controller takes std_msgs/msg/Float64MultiArray",
        ),
        (
            {"command_subscribers": (replace(CONTROLLER, transient_local=True),)},
            "command",
            "transient local",
        ),
        ({"controllers": {"fr3_arm_controller": "inactive"}}, "controllers", "fr3_arm_controller: inactive"),
        ({"controllers": None}, "controllers", "does not answer"),
        ({"health": None}, "robot", "no robot state"),
        ({"health": RobotHealth("REFLEX", ("joint_reflex",), 0.0)}, "robot", "joint_reflex"),
    ],
)
def test_the_rest_of_the_robot(changes: dict[str, Any], name: str, seen: str) -> None:
    ((found_name, found, advice),) = wrong(facts(**changes))
    assert found_name.startswith(name)
    assert seen in found
    assert advice


def test_beside_the_stand_in(
    ros_env: dict[str, str],
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("franka_msgs", reason="needs franka_msgs (make setup builds it)")
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOG_DIR"):
        monkeypatch.setenv(name, ros_env[name])
    path = variant(tmp_path, "fr3")
    path.write_text(path.read_text().replace("rate_hz: 200.0", "rate_hz: 20.0"))
    start("hpt_ros.standin.standin_node", "-p", f"embodiment:={path}")
    start("hpt_ros.nodes.commander_node", "-p", f"embodiment:={path}")
    with rehearse(int(ros_env["ROS_DOMAIN_ID"]), load_embodiment(path)) as robot:
        wait_until(lambda: robot.status is not None and robot.heard, "status and joints")
        code, findings = doctor(ros_env, path)
        assert code == bool(findings)  # a busy machine may miss a rate
        assert not findings & {"gripper", "command", "controllers", "robot"}
        robot.inject(silent=["gripper"], error="joint_reflex")
        wait_until(lambda: robot.modes[-1] == MODES.index("REFLEX"), "reflex")
        code, findings = doctor(ros_env, path)
    assert code == 1
    assert findings >= {"gripper", "controllers", "robot"}


def doctor(ros_env: dict[str, str], path: Path) -> tuple[int, set[str]]:
    """Exit code, and what is not well."""
    command = [sys.executable, "-m", "hpt_ros.cli.main", "doctor", "--live", "--json", "--seconds", "2"]
    finished = subprocess.run(
        [*command, "--embodiment", str(path)], env=ros_env, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode in (0, 1), finished.stderr
    findings = json.loads(finished.stdout)
    assert {finding["name"] for finding in findings} >= {
        "processor governor",
        "realtime priority",
        "memory lock",
        "GPU",
    }
    wrong = [finding for finding in findings if not (finding["ok"] or finding["optional"])]
    return finished.returncode, {finding["name"].split()[0] for finding in wrong}
