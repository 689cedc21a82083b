"""A person's trials: `hpt-ros evaluate` in a real terminal, with simulator, commander, recorder and policies over real topics."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from patient_robot import patient_panda
from pseudo_terminal import Terminal, terminal

from hpt_ros.embodiment import embodiment_to
from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")

from hpt_ros.msg import PolicyStatus

from hpt_ros.cli.record import committed
from hpt_ros.nodes.session import Session

ROBOT = patient_panda()
Start = Callable[..., "subprocess.Popen[str]"]


def save_policy(folder: Path, seed: int) -> None:
    """Random weights whose actions stay around home."""
    torch.manual_seed(seed)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), ROBOT)
    home = np.append(np.array(ROBOT.home_rad), 0.08)
    rows = home + np.random.default_rng(seed).uniform(-0.02, 0.0, (50, len(home)))
    policy.scaling.fit(rows, rows)
    save_checkpoint(folder, policy.eval(), ROBOT, {})


@pytest.fixture
def graph(ros_env: dict[str, str], start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The robot as `evaluate.launch.py` and its drivers would bring it up."""
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    robot = tmp_path / "robot.yaml"
    robot.write_text(yaml.safe_dump(embodiment_to(ROBOT)))
    own = {
        "sim.sim_node": ["image_height:=48", "image_width:=64"],
        "nodes.commander_node": [],
        "nodes.recorder_node": [f"bags_dir:={tmp_path / 'bags'}"],
    }
    for module, parameters in own.items():
        start(f"hpt_ros.{module}", *(x for p in [f"embodiment:={robot}", *parameters] for x in ("-p", p)))
    for name, seed in (("secret_a", 1), ("secret_b", 2)):
        save_policy(tmp_path / name, seed)
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as session:
        for name in ("sim", "commander", "recorder"):
            session.wait_for_status(name, 60.0)
        yield session


def person(ros_env: dict[str, str], folder: Path, *options: str) -> Any:
    command = ["-m", "hpt_ros.cli.main", "evaluate", "secret_a", "secret_b", "--out", "out", "--trials", "2"]
    return terminal([*command, "--operator", "ada", *options], ros_env, folder)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "trials.jsonl").read_text().splitlines()[1:]]


def run_trial(shown: Terminal, session: Session) -> None:
    shown.expect("READY")
    shown.type("s")
    shown.expect("RUNNING")
    session.wait_for("the arm to follow", lambda: session.latest["commander"].state == "RUNNING", 30.0)


def test_trials_survive_kill_9_and_stay_blinded(graph: Session, ros_env: dict[str, str], tmp_path: Path) -> None:
    with person(ros_env, tmp_path) as shown:
        run_trial(shown, graph)
        shown.type("5")
        shown.expect("trial 1: partly")
        assert [(row["score"], row["termination"]) for row in rows(tmp_path)] == [(0.5, "operator")]
        run_trial(shown, graph)
        shown.send(signal.SIGKILL)
        shown.process.wait()
        assert "secret" not in shown.text
    # the policy dies with the evaluation, so that nothing drives the arm on
    graph.wait_for("the arm to stop", lambda: graph.latest["commander"].state in ("HOLDING", "IDLE"), 30.0)
    graph.wait_for("the policy's end", lambda: graph.node.count_publishers("/hpt_ros/policy/status") == 0, 30.0)
    graph.trigger("/hpt_ros/commander/disengage")
    assert len(rows(tmp_path)) == 1

    with person(ros_env, tmp_path, "--timeout-s", "60") as shown:
        run_trial(shown, graph)
        shown.expect("trial 2 of 4, 1 done")
        shown.type("n")
        shown.wait_for_keys(False)
        shown.type("it <slipped>\r")
        shown.wait_for_keys()
        graph.trigger("/hpt_ros/commander/disengage")  # whatever ends it, the score is asked for
        shown.expect("ended: refused; what is its score")
        shown.type("0")
        shown.expect("trial 2: failed")
        shown.type("\x03")
        assert shown.wait() == 130
        assert "secret" not in shown.text.split("interrupted")[0]

    found = rows(tmp_path)
    assert [(row["index"], row["score"], row["termination"]) for row in found] == [
        (0, 0.5, "operator"),
        (1, 0.0, "refused"),
    ]
    assert found[1]["note"] == "it <slipped>"
    assert len({row["checkpoint"] for row in found}) == 2, "both in the first block"
    bags = committed(tmp_path / "bags" / "reach")
    notes = {bag: yaml.safe_load((bag / "metadata.yaml").read_text()) for bag in bags}
    kept = {bag.name: info["rosbag2_bagfile_information"]["custom_data"]["hpt_ros.note"] for bag, info in notes.items()}
    assert kept[Path(found[0]["bag"]).name] == f"trial=0 checkpoint={found[0]['checkpoint']}"
    assert sum("before this trial did" in note for note in kept.values()) == 1, "the killed trial's bag is kept"
    assert len(bags) == 3
    assert cv2.imread(str(tmp_path / "out" / "scenes" / "0000_front.png")).shape == (48, 64, 3)
    assert (tmp_path / "out" / "videos" / "trial_0001.webm").stat().st_size > 0


def test_a_policy_that_runs_already_is_refused(graph: Session, ros_env: dict[str, str], tmp_path: Path) -> None:
    publisher = graph.node.create_publisher(PolicyStatus, "/hpt_ros/policy/status", 10)
    graph.node.create_timer(0.1, lambda: publisher.publish(PolicyStatus(checkpoint="runs/other")))
    with person(ros_env, tmp_path) as shown:
        shown.expect("a policy of runs/other runs already")
        assert shown.wait() == 7
