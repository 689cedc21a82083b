"""LeRobot datasets: what lies in the files, and the way back."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import synthetic
from lerobot_sets import assert_looks_like, change_json, demos_of, gradients, video_robot

from hpt_ros.demos import Demos
from hpt_ros.demos.lerobot_export import export
from hpt_ros.demos.lerobot_import import import_lerobot
from hpt_ros.errors import BusyError, DataError

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow (pip install pyarrow)")
pa = pytest.importorskip("pyarrow")

ROBOT = synthetic.depth_embodiment()


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    return demos_of(tmp_path_factory.mktemp("lerobot"), ROBOT)


@pytest.fixture(scope="module")
def exported(demos: Demos) -> Path:
    return export(demos, demos.path.parent / "exported").out


@pytest.fixture
def dataset(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(exported, tmp_path / "dataset"))


def _column(dataset: Path, name: str) -> Any:
    files = sorted(dataset.glob("data/*/*.parquet"))
    return pa.concat_tables([parquet.read_table(path) for path in files]).column(name).to_pylist()


def _assert_same_values(one: Demos, other: Demos) -> None:
    np.testing.assert_array_equal(one.state, other.state)
    np.testing.assert_array_equal(one.command, other.command)
    np.testing.assert_array_equal(one.tick_ns, other.tick_ns)
    np.testing.assert_array_equal(one.intervention, other.intervention)
    for name in one.images:
        np.testing.assert_array_equal(one.images[name], other.images[name])
    for name in one.depth:
        np.testing.assert_array_equal(one.depth[name], other.depth[name])


def test_the_way_back_gives_the_same_set_bit_for_bit(demos: Demos, exported: Path, tmp_path: Path) -> None:
    report = import_lerobot(exported, None, tmp_path / "back")
    back = Demos.open(tmp_path / "back")
    assert (report.episodes, report.ticks) == (3, len(demos))
    _assert_same_values(demos, back)
    assert (back.embodiment, back.fingerprint, back.episodes) == (demos.embodiment, demos.fingerprint, demos.episodes)
    assert (back.statistics, back.sync) == (demos.statistics, demos.sync)


def test_the_action_of_a_frame_is_the_first_label_of_its_window(demos: Demos, exported: Path) -> None:
    actions = np.array(_column(exported, "action"), dtype=np.float32)
    for i in range(len(demos)):
        np.testing.assert_array_equal(actions[i], demos.window(i).action[0])


def test_frames_count_within_their_episode_and_name_their_task(demos: Demos, exported: Path) -> None:
    tasks = parquet.read_table(exported / "meta/tasks.parquet").to_pylist()
    assert tasks == [{"task_index": 0, "task": "reach the cube"}]
    index = parquet.read_table(exported / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for number, episode in enumerate(demos.episodes):
        row, span = index[number], slice(episode.start, episode.stop)
        length = episode.stop - episode.start
        assert (row["episode_index"], row["length"], row["tasks"]) == (number, length, ["reach the cube"])
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (episode.start, episode.stop)
        assert set(_column(exported, "episode_index")[span]) == {number}
        assert _column(exported, "frame_index")[span] == list(range(length))
        np.testing.assert_allclose(_column(exported, "timestamp")[span], np.arange(length) / 15, rtol=1e-6)
        state = demos.state[span].astype(np.float64)
        np.testing.assert_allclose(row["stats/observation.state/mean"], state.mean(0))
    assert _column(exported, "index") == list(range(len(demos)))
    info = json.loads((exported / "meta/info.json").read_text())
    assert (info["total_frames"], info["total_episodes"], info["total_tasks"]) == (len(demos), 3, 1)
    assert set(info["features"]) == set(parquet.read_schema(exported / "data/chunk-000/file-000.parquet").names)


def test_a_full_file_is_followed_by_the_next(demos: Demos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpt_ros.demos.lerobot_table.DATA_FILE_MB", 0)
    export(demos, tmp_path / "small")
    index = parquet.read_table(tmp_path / "small/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["data/file_index"] for row in index] == [0, 1, 2]
    assert len(list(tmp_path.glob("small/data/chunk-000/*.parquet"))) == 3
    import_lerobot(tmp_path / "small", None, tmp_path / "back")
    _assert_same_values(demos, Demos.open(tmp_path / "back"))


def test_data_from_elsewhere_is_mapped_by_name(demos: Demos, dataset: Path, tmp_path: Path) -> None:
    """Without what only our export writes, with other names in another order and larger images."""
    (dataset / "meta/hpt_ros.json").unlink()
    path = dataset / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(path).drop_columns(["command", "tick_ns"])
    reversed_rows = [row[::-1] for row in table.column("action").to_pylist()]
    table = table.set_column(table.column_names.index("action"), "action", pa.array(reversed_rows))
    large = [_enlarged(row) for row in table.column("observation.images.front").to_pylist()]
    table = table.set_column(table.column_names.index("observation.images.front"), "top", pa.array(large))
    parquet.write_table(table, path)

    def foreign(info: Any) -> None:
        features = info["features"]
        del features["command"], features["tick_ns"]
        features["action"]["names"] = [f"{name}.pos" for name in reversed(ROBOT.action_names)]
        features["top"] = features.pop("observation.images.front") | {"shape": [32, 32, 3]}

    change_json(dataset / "meta/info.json", foreign)
    rename = {f"{name}.pos": name for name in ROBOT.action_names} | {"top": "observation.images.front"}
    import_lerobot(dataset, ROBOT, tmp_path / "back", rename=rename)
    back = Demos.open(tmp_path / "back")
    np.testing.assert_array_equal(back.state, demos.state)
    np.testing.assert_array_equal(back.images["front"], demos.images["front"])
    for episode in demos.episodes:
        inside = slice(episode.start + 1, episode.stop)
        np.testing.assert_array_equal(back.command[inside], demos.command[inside])
        np.testing.assert_array_equal(back.command[episode.start], demos.command[episode.start + 1])
        assert np.unique(np.diff(back.tick_ns[inside])).tolist() == [ROBOT.policy.period_ns]
    assert [e.instruction for e in back.episodes] == ["reach the cube"] * 3
    assert [(e.start, e.stop) for e in back.episodes] == [(e.start, e.stop) for e in demos.episodes]


def test_without_a_stored_embodiment_one_must_be_named(dataset: Path, tmp_path: Path) -> None:
    (dataset / "meta/hpt_ros.json").unlink()
    with pytest.raises(DataError, match=r"does not say which embodiment.*\n.*--embodiment"):
        import_lerobot(dataset, None, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def _cut(dataset: Path) -> None:
    path = dataset / "data/chunk-000/file-000.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def _without_last_frame(dataset: Path) -> None:
    path = dataset / "data/chunk-000/file-000.parquet"
    parquet.write_table(parquet.read_table(path)[:-1], path)


def _not_finite(dataset: Path) -> None:
    path = dataset / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(path)
    rows = table.column("observation.state").to_pylist()
    rows[2][1] = float("nan")
    parquet.write_table(table.set_column(0, "observation.state", pa.array(rows)), path)


def _another_origin(dataset: Path) -> None:
    change_json(dataset / "meta/hpt_ros.json", lambda origin: origin["episodes"].pop())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "not a readable parquet file"),
        (_without_last_frame, r"episode 2 has \d+ frames of \d+"),
        (_not_finite, "episode 0, frame 2: observation.state is not finite"),
        (_another_origin, "2 episodes that are not the 3 of the dataset"),
        (lambda dataset: shutil.rmtree(dataset / "data"), "no file below data/"),
    ],
)
def test_a_damaged_dataset_leaves_nothing(dataset: Path, tmp_path: Path, damage: Any, said: str) -> None:
    damage(dataset)
    with pytest.raises(DataError, match=said):
        import_lerobot(dataset, None, tmp_path / "back")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_nothing_is_overwritten_unasked(demos: Demos, dataset: Path) -> None:
    with pytest.raises(BusyError, match="exists"):
        export(demos, dataset)
    with pytest.raises(BusyError, match="exists"):
        import_lerobot(dataset, None, demos.path)
    assert export(demos, dataset, overwrite=True).frames == len(demos)


def test_video_keeps_what_the_eye_sees(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs PyAV (pip install av)")
    demos = demos_of(tmp_path, video_robot(), seconds=(0.6, 0.5))
    smooth = {name: gradients(frames) for name, frames in demos.images.items()}
    scheduled = os.sched_getscheduler(0)
    export(replace(demos, images=smooth), tmp_path / "video", video=True)
    assert os.sched_getscheduler(0) == scheduled, "the encoder asks for real-time priority"
    assert len(list(tmp_path.glob("video/videos/observation.images.front/chunk-000/*.mp4"))) == 2
    import_lerobot(tmp_path / "video", None, tmp_path / "back")
    back = Demos.open(tmp_path / "back")
    np.testing.assert_array_equal(back.command, demos.command)
    for name, frames in smooth.items():
        assert_looks_like(back.images[name], frames)


def test_video_of_odd_size_is_refused(demos: Demos, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs PyAV (pip install av)")
    with pytest.raises(DataError, match="even sides of at least 64 px"):
        export(demos, tmp_path / "video", video=True)
    assert not list(tmp_path.iterdir())


def _enlarged(row: dict[str, Any]) -> dict[str, Any]:
    image = cv2.imdecode(np.frombuffer(row["bytes"], np.uint8), cv2.IMREAD_COLOR)
    twice = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    return {"bytes": cv2.imencode(".png", twice)[1].tobytes(), "path": None}
