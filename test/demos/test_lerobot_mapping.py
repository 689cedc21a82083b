"""Features of a LeRobot dataset are found by name, and what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import synthetic

from hpt_ros.demos import lerobot_format as v3
from hpt_ros.demos.lerobot_mapping import map_features, read_info
from hpt_ros.embodiment import embodiment_from, embodiment_to
from hpt_ros.errors import DataError

ROBOT = synthetic.depth_embodiment()
NAMES = list(ROBOT.state_names)


def _info() -> dict[str, Any]:
    return {"fps": 15, "features": v3.features(ROBOT, video=False, interventions=False)}


def test_our_own_names_map_onto_themselves() -> None:
    mapped = map_features(_info(), ROBOT, {})
    assert (mapped.state.key, mapped.state.entries) == ("observation.state", tuple(range(8)))
    assert mapped.command is not None
    assert mapped.command.key == "command"
    assert mapped.images == {"front": "observation.images.front", "wrist": "observation.images.wrist"}
    assert mapped.depth == {"near": "depth.near", "far": "depth.far"}
    assert not mapped.videos


def test_entries_are_picked_by_name_from_any_order_and_any_form_of_names() -> None:
    info = _info()
    shuffled = ["extra", *reversed(NAMES)]
    info["features"]["observation.state"] |= {"names": {"motors": shuffled}, "shape": [9]}
    mapped = map_features(info, ROBOT, {})
    assert [shuffled[i] for i in mapped.state.entries] == NAMES


def test_renaming_reaches_features_and_entries() -> None:
    info = _info()
    features = info["features"]
    features["observation.images.top"] = features.pop("observation.images.front")
    features["action"]["names"] = ["j1.pos", *NAMES[1:]]
    rename = {"observation.images.top": "observation.images.front", "j1.pos": NAMES[0]}
    assert map_features(info, ROBOT, rename).images["front"] == "observation.images.top"
    with pytest.raises(DataError, match=r"no feature observation.images.front; there are .*images.top.*\n.*--rename"):
        map_features(info, ROBOT, {"j1.pos": NAMES[0]})
    with pytest.raises(DataError, match=f"feature action has no single {NAMES[0]}; it has j1.pos"):
        map_features(info, ROBOT, {"observation.images.top": "observation.images.front"})
    with pytest.raises(DataError, match=r"--rename typo: no such feature or entry"):
        map_features(info, ROBOT, rename | {"typo": "action"})


@pytest.mark.parametrize(
    ("feature", "change", "said"),
    [
        ("observation.state", {"names": None}, r"does not name its \[8\] entries"),
        ("observation.state", {"names": [NAMES[0]] * 8}, f"no single {NAMES[0]}"),
        ("observation.images.wrist", {"dtype": "float32"}, "is float32 of shape .*, expected image or video"),
        ("depth.far", {"shape": [24, 32]}, r"expected uint16 \[mm\] of shape \[12, 16\]"),
    ],
)
def test_a_feature_of_another_kind_is_named(feature: str, change: dict[str, Any], said: str) -> None:
    info = _info()
    info["features"][feature] |= change
    with pytest.raises(DataError, match=said):
        map_features(info, ROBOT, {})


def test_another_rate_is_refused_in_both_directions() -> None:
    with pytest.raises(DataError, match=r"30 frames per second, policy\.rate_hz of sim_panda is 15"):
        map_features(_info() | {"fps": 30}, ROBOT, {})
    data = embodiment_to(ROBOT)
    data["policy"]["rate_hz"] = 12.5
    with pytest.raises(DataError, match=r"12\.5, a LeRobot dataset has whole frames"):
        v3.frames_per_second(embodiment_from(data))


def test_files_are_counted_in_chunks_of_a_thousand() -> None:
    assert v3.DATA_PATH.format(**v3.place(999)) == "data/chunk-000/file-999.parquet"
    assert v3.DATA_PATH.format(**v3.place(1000)) == "data/chunk-001/file-000.parquet"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"no meta/info\.json"),
        ("{", "not the description of a LeRobot dataset"),
        (json.dumps({"codebase_version": "v2.1"}), r"format v2\.1, expected v3\.0\n.*convert_dataset_v21_to_v30"),
        (json.dumps({"codebase_version": "v3.0", "fps": 15}), "no features, data_path, total_frames"),
    ],
)
def test_what_is_no_dataset_of_this_version_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    (tmp_path / "meta").mkdir()
    if content is not None:
        (tmp_path / "meta" / "info.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_info(tmp_path)
