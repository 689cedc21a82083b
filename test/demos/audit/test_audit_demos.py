"""Demonstration sets: converted clean bags and simulated demonstrations are silent, faults in their arrays are found."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import clean
import numpy as np
import pytest
import synthetic
from clean import JOINTS, ROBOT

from hpt_ros.demos import Demos, convert
from hpt_ros.demos.audit import AuditConfig, audit
from hpt_ros.demos.audit.audit import check_views
from hpt_ros.demos.audit.read import demos_views
from hpt_ros.demos.audit.view import EpisodeView, Series

SAMPLE = Path(__file__).parents[3] / "bags" / "sample"
CONFIG = AuditConfig()


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    root = tmp_path_factory.mktemp("audit")
    for number in range(2):
        synthetic.record(root / "bags", ROBOT, iter(list(clean.messages(number))))
    convert([root / "bags"], None, root / "demos")
    return Demos.open(root / "demos")


def test_a_clean_set_is_silent(demos: Demos) -> None:
    report = audit([demos.path])
    assert report.findings == ()
    assert [view.name for view in report.views] == [episode.source for episode in demos.episodes]


def test_views_are_the_rows_of_the_episodes(demos: Demos) -> None:
    first, second = demos_views(demos, CONFIG)
    episode = demos.episodes[1]
    np.testing.assert_allclose(second.joints.values, demos.state[episode.start : episode.stop, :JOINTS])
    np.testing.assert_allclose(second.command.values, demos.command[episode.start : episode.stop])
    assert second.joints.time_s[0] == 0
    np.testing.assert_allclose(np.diff(second.joints.time_s), 1 / ROBOT.policy.rate_hz, atol=1e-6)
    assert (len(first.joints), len(second.joints)) == tuple(e.stop - e.start for e in demos.episodes)
    thumbnails = first.cameras["front"].thumbnails
    assert len(thumbnails) == 3
    np.testing.assert_array_equal(thumbnails[0], demos.images["front"][0])


def rows(name: str, change: Callable[[np.ndarray], None]) -> Callable[[Demos], Demos]:
    """A set with one of its arrays changed."""

    def seed(demos: Demos) -> Demos:
        values = np.array(getattr(demos, name))
        change(values)
        return replace(demos, **{name: values})

    return seed


def front(change: Callable[[np.ndarray], None]) -> Callable[[Demos], Demos]:
    """A set whose front camera saw something else."""

    def seed(demos: Demos) -> Demos:
        pixels = np.array(demos.images["front"])
        change(pixels)
        return replace(demos, images=dict(demos.images) | {"front": pixels})

    return seed


def put(index: object, value: object) -> Callable[[np.ndarray], None]:
    return lambda array: array.__setitem__(index, value)


def twice(pixels: np.ndarray) -> None:
    pixels[1::2] = pixels[0::2][: len(pixels[1::2])]


SEEDS: dict[str, Callable[[Demos], Demos]] = {
    "bad_values": rows("state", put((20, 3), np.nan)),
    "camera_black": front(put(slice(10, 30), 0)),
    "camera_overexposed": front(put(slice(10, 40), 255)),
    "camera_frozen": front(lambda pixels: pixels.__setitem__(slice(10, 30), pixels[10])),
    "frames_repeated": front(twice),
    "joint_jump": rows("state", lambda state: state.__setitem__((20, 4), state[20, 4] + 0.3)),
    "command_offset": rows("state", lambda state: state.__setitem__((slice(None), 4), state[:, 4] + 0.05)),
    "failures": lambda demos: replace(demos, episodes=tuple(replace(e, score=0.0) for e in demos.episodes)),
}


@pytest.mark.parametrize("kind", SEEDS)
def test_a_seeded_fault_is_found_and_only_it(kind, demos) -> None:
    views = list(demos_views(SEEDS[kind](demos), CONFIG))
    assert {finding.kind for finding in check_views(views, CONFIG)} == {kind}


def test_what_the_conversion_saw_is_told(tmp_path) -> None:
    """Every fifth frame is lost: the set's rows do not show it, its sync report does."""
    frames = itertools.count()
    kept = (m for m in clean.messages(0) if m[0] != "camera.wrist" or next(frames) % 5)
    synthetic.record(tmp_path / "bags", ROBOT, kept)
    convert([tmp_path / "bags"], None, tmp_path / "demos")
    found = audit([tmp_path / "demos"]).findings
    assert [(finding.kind, finding.subject) for finding in found] == [("rate_low", "camera.wrist")]


def test_the_sample_recording_is_silent() -> None:
    """It reaches without grasping: that the fingers rest is all there is to say."""
    assert [finding.kind for finding in audit([SAMPLE]).findings] == ["gripper_unused"]


@pytest.mark.parametrize(("task", "notes"), [("reach", ["gripper_unused"]), ("lift", [])])
def test_simulated_demonstrations_are_silent(task, notes) -> None:
    pytest.importorskip("mujoco")
    from hpt_ros.sim.offline import OfflineScene

    views = []
    with OfflineScene(task, images=False) as scene:
        for seed in range(CONFIG.outlier_min_episodes):
            samples = list(scene.run_expert(seed))
            time_s = np.array([sample.time_s for sample in samples])
            state = Series(time_s, np.array([sample.state for sample in samples], dtype=float))
            command = Series(time_s, np.array([sample.target for sample in samples], dtype=float))
            arm, fingers = state.columns(slice(0, JOINTS)), state.columns(slice(-1, None))
            views.append(EpisodeView(f"{task}/{seed}", scene.embodiment, 1.0, task, arm, fingers, command))
    assert [finding.kind for finding in check_views(views, CONFIG)] == notes
