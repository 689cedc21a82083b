"""One code path, over real topics: what the policy was fed with is what the recorded bag gives for the same ticks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from parity import assert_same, offline
from patient_robot import patient_panda

from hpt_ros.demos.align import align
from hpt_ros.demos.bag import open_bag
from hpt_ros.embodiment import embodiment_to
from hpt_ros.model import HPTPolicy, PolicyConfig, save_checkpoint
from hpt_ros.streams import Observation, header_stamp_ns

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from hpt_ros.nodes.observation_files import ObservationFiles, arrays
from hpt_ros.nodes.session import Session

Start = Callable[..., "subprocess.Popen[str]"]
RECORDED_TICKS = 20
WAIT_S = 60.0


ROBOT = patient_panda(observation_horizon=2)  # history counts


@pytest.fixture
def session(ros_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as client:
        yield client


def save_policy(folder: Path) -> None:
    """Random weights whose actions stay around home."""
    torch.manual_seed(0)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4), ROBOT)
    home = np.append(np.array(ROBOT.home_rad), 0.08)
    rows = home + np.random.default_rng(0).uniform(-0.02, 0.0, (50, len(home)))
    policy.scaling.fit(rows, rows)
    save_checkpoint(folder, policy.eval(), ROBOT, {})


def start_nodes(start: Start, folder: Path) -> list[Any]:
    robot = folder / "robot.yaml"
    robot.write_text(yaml.safe_dump(embodiment_to(ROBOT)))
    save_policy(folder / "checkpoint")
    own = {
        "sim.sim_node": ["image_height:=48", "image_width:=64"],
        "nodes.commander_node": [],
        "nodes.recorder_node": [f"bags_dir:={folder / 'bags'}"],
        "nodes.policy_node": [f"checkpoint:={folder / 'checkpoint'}", f"save_observations:={folder / 'seen'}"],
    }
    return [
        start(f"hpt_ros.{module}", *(x for p in [f"embodiment:={robot}", *parameters] for x in ("-p", p)))
        for module, parameters in own.items()
    ]


def saved(folder: Path) -> dict[int, Observation]:
    """By tick; the ages of the samples are not in the files."""
    found = {}
    for path in folder.glob("*.npz"):
        with np.load(path, allow_pickle=False) as file:
            kinds = {
                kind: {key.removeprefix(f"{kind}."): file[key] for key in file.files if key.startswith(f"{kind}.")}
                for kind in ("image", "depth")
            }
            tick_ns = int(file["tick_ns"])
            found[tick_ns] = Observation(tick_ns, file["state"], kinds["image"], {}, kinds["depth"])
    return found


def covered(messages: list[tuple[str, bytes]]) -> tuple[int, int]:
    """The first and the last tick that find all they need in the bag."""
    stamps: dict[str, list[int]] = {}
    for key, raw in messages:
        stamps.setdefault(key, []).append(header_stamp_ns(raw))
    specs = ROBOT.streams()
    first_ns = max(min(stamps[s.key]) + s.allowance_ns for s in specs) + ROBOT.policy.period_ns
    return first_ns, min(max(stamps[s.key]) for s in specs)


def test_the_bag_gives_what_the_policy_was_fed_with(session: Session, start: Start, tmp_path: Path) -> None:
    nodes = start_nodes(start, tmp_path)
    for name in ("sim", "commander", "recorder", "policy"):
        session.wait_for_status(name, WAIT_S)
    session.wait_for("chunks", lambda: session.latest["policy"].state == "RUNNING", WAIT_S)
    session.insist(session.engage, WAIT_S)
    session.wait_for("the arm to follow", lambda: session.latest["commander"].state == "RUNNING", WAIT_S)
    session.insist(lambda: session.start_episode("reach", "reach the cube", "tester"), WAIT_S)
    began = session.latest["policy"].chunks
    session.wait_for("ticks", lambda: session.latest["policy"].chunks > began + RECORDED_TICKS, WAIT_S)
    bag = Path(session.stop_episode(1.0, "success"))
    late = dict(zip(session.latest["policy"].streams, session.latest["policy"].late_samples, strict=True))
    nodes[-1].terminate()
    assert nodes[-1].wait(timeout=30) == 0
    if any(late.values()):
        pytest.skip(f"the machine delayed messages by more than 0.2 s: {late}")

    with open_bag(bag) as episode:
        messages = list(episode.messages(ROBOT))
    first_ns, last_ns = covered(messages)
    seen = {tick: o for tick, o in sorted(saved(tmp_path / "seen").items()) if first_ns <= tick <= last_ns}
    assert len(seen) >= RECORDED_TICKS / 2
    states = np.stack([o.state for o in seen.values()])
    assert states.shape[1:] == (2, 8)
    assert np.ptp(states, axis=0).max() > 0, "the arm moved"
    for live, recorded in zip(seen.values(), offline(ROBOT, messages, list(seen)), strict=True):
        assert isinstance(recorded, Observation)
        assert_same(live, Observation(recorded.tick_ns, recorded.state, recorded.images, {}, recorded.depth))

    rows = list(align(messages, ROBOT))
    at_ticks = offline(ROBOT, messages, [row.observation.tick_ns for row in rows])
    assert len(rows) >= RECORDED_TICKS / 2
    for row, recorded in zip(rows[1:], list(at_ticks)[1:], strict=True):
        assert isinstance(recorded, Observation)
        now = {name: frames[-1:] for name, frames in recorded.images.items()}
        assert_same(row.observation, Observation(recorded.tick_ns, recorded.state[-1:], now, recorded.ages_ns))


def test_files_are_complete_or_not_there(tmp_path: Path) -> None:
    observation = Observation(
        7,
        np.ones((2, 8), np.float32),
        {"front": np.zeros((2, 4, 4, 3), np.uint8)},
        {},
        {"near": np.ones((2, 3, 3), np.uint16)},
    )
    files = ObservationFiles(tmp_path / "seen")
    files.save(observation)
    files.close()
    assert [path.name for path in (tmp_path / "seen").iterdir()] == ["7.npz"]
    found = saved(tmp_path / "seen")[7]
    assert_same(found, observation)
    assert arrays(found).keys() == {"tick_ns", "state", "image.front", "depth.near"}
    assert files.missed == 0


def test_what_cannot_be_written_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    files = ObservationFiles(tmp_path / "seen")
    (tmp_path / "seen").rmdir()
    for tick_ns in range(3):
        files.save(Observation(tick_ns, np.ones((1, 8), np.float32), {}, {}))
    files.close()
    assert files.missed == 3
