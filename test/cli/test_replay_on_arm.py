"""`hpt-ros replay --on-arm --sim`: a demonstration that succeeded succeeds again in its scene, and only there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import synthetic
import yaml
from patient_robot import patient_panda
from synthetic import START_NS

from hpt_ros.demos import Demos, convert
from hpt_ros.embodiment import embodiment_to
from hpt_ros.recording.metadata import scene_note
from hpt_ros.sim.offline import OfflineScene, Sample

ROBOT = patient_panda()
SEED, ELSEWHERE = 7, 11


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    """The scripted expert's demonstration of scene SEED."""
    with OfflineScene("reach", ROBOT, images=False) as scene:
        samples = list(scene.run_expert(SEED))
    synthetic.record(tmp_path / "bags", ROBOT, messages(samples), note=scene_note(SEED))
    convert([tmp_path / "bags"], ROBOT, tmp_path / "demos")
    return tmp_path / "demos"


def messages(samples: list[Sample]) -> Iterator[tuple[str, int, bytes]]:
    """By stamp, each stream at its own rate; the newest sample stays until the next."""
    span_ns, stamped = len(samples) * ROBOT.policy.period_ns, []
    for spec in (*ROBOT.streams(), ROBOT.command_stream()):
        for after_ns in range(0, span_ns, round(1e9 / spec.rate_hz)):
            stamped.append((START_NS + after_ns, spec.key, samples[after_ns // ROBOT.policy.period_ns]))
    for stamp, key, sample in sorted(stamped, key=lambda item: item[0]):
        yield key, stamp, message(key, stamp, sample)


def message(key: str, stamp: int, sample: Sample) -> bytes:
    if key == "joints":
        return synthetic.joint_state(stamp, dict(zip(ROBOT.joints.names, sample.state, strict=False)))
    if key == "gripper":
        return synthetic.joint_state(stamp, dict.fromkeys(ROBOT.gripper.names, 0.04))
    if key == "command":
        return synthetic.command(stamp, ROBOT, sample.target)
    return synthetic.image(stamp, np.zeros((16, 16, 3), np.uint8))


def replay(demos: Path, seed: int | None, *more: str) -> subprocess.CompletedProcess[str]:
    robot = demos.parent / "robot.yaml"
    robot.write_text(yaml.safe_dump(embodiment_to(ROBOT)))
    command = [sys.executable, "-m", "hpt_ros.cli.main", "replay", "--on-arm", str(demos), "--sim", "--json", "-"]
    command += ["--embodiment", str(robot), "--log-dir", str(demos.parent / "log"), *more]
    command += [] if seed is None else ["--seed", str(seed)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def test_a_demonstration_succeeds_again_in_its_own_scene_only(ros_env: dict[str, str], demos: Path) -> None:
    done = replay(demos, None)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["scene"] == f"reach, scene {SEED}", "the one that the bag tells"
    assert report["success"] is True
    assert report["rows"] == len(Demos.open(demos))
    assert [joint["name"] for joint in report["tracking"]] == list(ROBOT.joints.names)
    assert all(0 < joint["rms_rad"] <= joint["max_rad"] < 0.1 for joint in report["tracking"])
    elsewhere = replay(demos, ELSEWHERE)
    assert elsewhere.returncode == 1, elsewhere.stderr
    assert json.loads(elsewhere.stdout)["success"] is False


def test_a_scene_that_nobody_knows_is_asked_for(ros_env: dict[str, str], demos: Path) -> None:
    index = demos / "demos.json"
    index.write_text(index.read_text().replace(f'"scene_seed": {SEED}', '"scene_seed": null'))
    refused = replay(demos, None)
    assert refused.returncode == 2
    assert "--seed" in refused.stderr


def test_an_episode_that_is_not_there_is_refused(ros_env: dict[str, str], demos: Path) -> None:
    refused = replay(demos, SEED, "--episode", "1")
    assert refused.returncode == 2
    assert "--episode: found 1, allowed: 0 to 0" in refused.stderr
