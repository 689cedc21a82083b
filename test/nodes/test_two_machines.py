"""The policy on another machine: two network namespaces, a cable with delay between them, nothing shared but topics."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml
from patient_robot import patient_panda

from hpt_ros.bringup.domain import DomainLock
from hpt_ros.bringup.environment import node_environment
from hpt_ros.embodiment import embodiment_to

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

pytestmark = pytest.mark.live

ROBOT = patient_panda(observation_horizon=2)
DELAY_MS = 15  # each way
WAIT_S = 60

ENGAGE = """
import json
from hpt_ros.nodes.session import Session
with Session() as session:
    status = lambda: session.latest["commander"]
    session.wait_for("both", lambda: {"policy", "commander"} <= set(session.latest), 60.0)
    session.wait_for("a policy that sees", lambda: session.latest["policy"].state == "RUNNING", 60.0)
    session.insist(lambda: session.trigger("/hpt_ros/commander/engage"), 60.0)
    session.wait_for("a motion that follows it", lambda: status().state == "RUNNING" and status().chunks_accepted > 20, 60.0)
    print(json.dumps([status().source, status().chunk_latency_p50_ms]))
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def add_machine(name: str, device: str, address: str) -> bool:
    """A namespace with its end of the cable, which multicast goes out of as well; whether this kernel can delay it."""
    ip("link", "set", device, "netns", name)
    for arguments in (
        ("addr", "add", f"{address}/24", "dev", device),
        ("link", "set", "lo", "up"),
        ("link", "set", device, "up"),
        ("route", "add", "239.0.0.0/8", "dev", device),
    ):
        ip("-n", name, *arguments)
    delay = [
        "tc",
        "-n",
        name,
        "qdisc",
        "add",
        "dev",
        device,
        "root",
        "netem",
        "delay",
        f"{DELAY_MS}ms",
        "limit",
        "10000",
    ]
    return subprocess.run(delay, check=False, capture_output=True).returncode == 0


@pytest.fixture
def machines() -> Iterator[tuple[str, str, bool]]:
    """The names of two network namespaces that reach each other, and whether the way is delayed."""
    if not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("needs iproute2 (ip, tc)")
    names = (f"hptrobot{os.getpid()}", f"hptbrain{os.getpid()}")
    ends = (f"hpta{os.getpid() % 100000}", f"hptb{os.getpid() % 100000}")
    with ExitStack() as stack:
        try:
            for name in names:
                ip("netns", "add", name)
                stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=False, capture_output=True)
            ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
            stack.callback(subprocess.run, ["ip", "link", "delete", ends[0]], check=False, capture_output=True)
            delayed = [add_machine(names[i], ends[i], f"10.213.7.{i + 1}") for i in range(2)]
        except subprocess.CalledProcessError as error:
            pytest.skip(f"may not make network namespaces here: {error.stderr.decode().strip()}")
        yield *names, all(delayed)


def test_a_policy_elsewhere_drives_the_arm(machines: tuple[str, str, bool], tmp_path: Path) -> None:
    import torch

    from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint

    robot = tmp_path / "robot.yaml"
    robot.write_text(yaml.safe_dump(embodiment_to(ROBOT)))
    torch.manual_seed(0)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), ROBOT)
    rows = np.append(np.array(ROBOT.home_rad), 0.08) + np.random.default_rng(0).uniform(-0.02, 0.0, (50, 8))
    policy.scaling.fit(rows, rows)  # actions stay around home
    save_checkpoint(tmp_path / "checkpoint", policy.eval(), ROBOT, {})
    near, far, delayed = machines
    with DomainLock.any_free() as lock, ExitStack() as stack:
        environment = node_environment(lock.domain_id, tmp_path / "logs", local=False)

        def start(machine: str, module: str, *parameters: str) -> None:
            arguments = [item for parameter in (f"embodiment:={robot}", *parameters) for item in ("-p", parameter)]
            command = ["ip", "netns", "exec", machine, sys.executable, "-m", module, "--ros-args", *arguments]
            output = stack.enter_context((tmp_path / f"{module}.log").open("wb"))
            child = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
            stack.callback(child.wait)
            stack.callback(child.terminate)

        start(near, "hpt_ros.sim.sim_node", "image_height:=48", "image_width:=64")
        start(near, "hpt_ros.nodes.commander_node")
        start(far, "hpt_ros.nodes.policy_node", f"checkpoint:={tmp_path / 'checkpoint'}")
        watched = subprocess.run(
            ["ip", "netns", "exec", near, sys.executable, "-c", ENGAGE],
            env=environment,
            capture_output=True,
            text=True,
            timeout=4 * WAIT_S,
            check=False,
        )
        logs = "\n".join(path.read_text()[-1500:] for path in tmp_path.glob("*.log"))
        assert watched.returncode == 0, watched.stderr[-1500:] + logs
        source, latency_ms = json.loads(watched.stdout.splitlines()[-1])
    assert source == "policy"
    assert latency_ms > DELAY_MS * delayed  # from the observation's tick to the commander: at least the way back
