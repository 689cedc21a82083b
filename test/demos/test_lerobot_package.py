"""What the `lerobot` package itself reads from an export. Runs where it is installed (it pins other versions of torch)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from lerobot_sets import assert_looks_like, demos_of, gradients, video_robot

from hpt_ros.demos import Demos
from hpt_ros.demos import lerobot_format as v3
from hpt_ros.demos.lerobot_export import export
from hpt_ros.demos.lerobot_import import import_lerobot

lerobot_dataset = pytest.importorskip("lerobot.datasets.lerobot_dataset", reason="needs lerobot (pip install lerobot)")


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    return demos_of(tmp_path_factory.mktemp("package"), synthetic.depth_embodiment(action_horizon=4))


def _open(out: Path, **options: Any) -> Any:
    return lerobot_dataset.LeRobotDataset("local/demos", root=out, **options)


def test_every_frame_is_that_of_the_set(demos: Demos, tmp_path: Path) -> None:
    dataset = _open(export(demos, tmp_path / "out").out)
    assert (len(dataset), dataset.num_episodes, dataset.fps) == (len(demos), 3, 15)
    for i, item in enumerate(dataset):
        np.testing.assert_array_equal(item["observation.state"].numpy(), demos.state[i])
        np.testing.assert_array_equal(item["command"].numpy(), demos.command[i])
        np.testing.assert_array_equal(item["action"].numpy(), demos.window(i).action[0])
        assert demos.intervention is not None
        assert item["intervention"].item() == demos.intervention[i]
        assert item["task"] == "reach the cube"
        assert (item["tick_ns"].item(), item["episode_index"].item()) == (demos.tick_ns[i], demos.episode_of[i])
        for name, frames in demos.images.items():
            pixels = (item[f"observation.images.{name}"].permute(1, 2, 0) * 255).round().numpy()
            np.testing.assert_array_equal(pixels, frames[i])
        for name, maps in demos.depth.items():
            np.testing.assert_array_equal(np.asarray(item[f"depth.{name}"]), maps[i])
    np.testing.assert_allclose(dataset.meta.stats["observation.state"]["mean"], demos.statistics["state"]["mean"])


def test_an_action_chunk_is_that_of_the_window(demos: Demos, tmp_path: Path) -> None:
    out = export(demos, tmp_path / "out").out
    dataset = _open(out, delta_timestamps={"action": [i / 15 for i in range(4)]})
    for i in range(len(demos)):
        window, item = demos.window(i), dataset[i]
        valid = window.valid & ~item["action_is_pad"].numpy()
        np.testing.assert_array_equal(item["action"].numpy()[valid], window.action[valid])
        assert (~item["action_is_pad"].numpy()).sum() - window.valid.sum() in (0, 1)


def test_one_episode_can_be_loaded(demos: Demos, tmp_path: Path) -> None:
    dataset, episode = _open(export(demos, tmp_path / "out").out, episodes=[1]), demos.episodes[1]
    assert len(dataset) == episode.stop - episode.start
    np.testing.assert_array_equal(dataset[0]["observation.state"].numpy(), demos.state[episode.start])


def test_a_policy_finds_state_cameras_and_action_and_nothing_else(demos: Demos, tmp_path: Path) -> None:
    from lerobot.datasets.utils import dataset_to_policy_features

    found = dataset_to_policy_features(_open(export(demos, tmp_path / "out").out).features)
    assert {key: str(feature.type.value) for key, feature in found.items()} == {
        "observation.state": "STATE",
        "observation.images.front": "VISUAL",
        "observation.images.wrist": "VISUAL",
        "action": "ACTION",
    }


def test_videos_show_the_frames_of_the_set(tmp_path: Path) -> None:
    demos = _video_demos(tmp_path)
    shown = _shown(_open(export(demos, tmp_path / "out", video=True).out), demos)
    for name, frames in demos.images.items():
        assert_looks_like(shown[name], frames)


@pytest.mark.parametrize("video", [False, True])
def test_what_the_package_writes_can_be_imported(tmp_path: Path, video: bool) -> None:
    demos, root = _video_demos(tmp_path), tmp_path / "made"
    wanted = (v3.STATE, v3.ACTION, *map(v3.image_key, demos.images))
    features = {key: v3.features(demos.embodiment, video, False)[key] for key in wanted}
    features = {key: {**feature, "shape": tuple(feature["shape"])} for key, feature in features.items()}
    made = lerobot_dataset.LeRobotDataset.create("local/made", fps=15, root=root, features=features, use_videos=video)
    for episode in demos.episodes:
        for i in range(episode.start, episode.stop):
            images = {v3.image_key(name): frames[i] for name, frames in demos.images.items()}
            made.add_frame({v3.STATE: demos.state[i], v3.ACTION: demos.command[i], "task": "fold", **images})
        made.save_episode(parallel_encoding=False)
    made.finalize()
    import_lerobot(root, demos.embodiment, tmp_path / "back")
    back = Demos.open(tmp_path / "back")
    np.testing.assert_array_equal(back.state, demos.state)
    assert [(e.start, e.stop, e.instruction) for e in back.episodes] == [
        (e.start, e.stop, "fold") for e in demos.episodes
    ]
    for episode in demos.episodes:  # what the package calls action comes into force a frame later
        expected = demos.command[episode.start : episode.stop - 1]
        np.testing.assert_array_equal(back.command[episode.start + 1 : episode.stop], expected)
    shown = _shown(_open(root), demos)
    for name, frames in demos.images.items():
        np.testing.assert_allclose(back.images[name], shown[name], atol=0.01)
        if not video:
            np.testing.assert_array_equal(back.images[name], frames)


def _shown(dataset: Any, demos: Demos) -> dict[str, np.ndarray]:
    """By camera, the frames (N, H, W, 3) that the package gives out, 0 to 255."""
    items = list(dataset)
    return {
        name: np.stack([item[v3.image_key(name)].permute(1, 2, 0).numpy() * 255 for item in items])
        for name in demos.images
    }


def _video_demos(root: Path) -> Demos:
    demos = demos_of(root, video_robot(), seconds=(0.6, 0.5))
    return replace(demos, images={name: gradients(frames) for name, frames in demos.images.items()})
