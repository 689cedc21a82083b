"""What a set tells of a person who took over from a policy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import synthetic
from synthetic import MS, START_NS

from hpt_ros.demos import Demos, convert
from hpt_ros.demos.settings import ConvertSettings

ROBOT = synthetic.embodiment(action_horizon=4)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return synthetic.record(tmp_path / "bags", ROBOT, synthetic.taken_over(synthetic.messages(ROBOT, 1.2), 500, 800))


def test_a_command_of_a_person_is_known_as_such(bag: Path, tmp_path: Path) -> None:
    convert([bag], None, tmp_path / "demos")
    demos = Demos.open(tmp_path / "demos")
    flags = (demos.tick_ns >= START_NS + 500 * MS) & (demos.tick_ns < START_NS + 800 * MS)
    assert 3 < flags.sum() < len(demos) - 3
    np.testing.assert_array_equal(demos.intervention, flags)
    first = int(np.flatnonzero(flags)[0])
    assert demos[first - 3]["intervention"].tolist() == [False, False, True, True]
    assert demos[len(demos) - 1]["intervention"].tolist() == [False] * 4


def test_where_nothing_was_commanded_nothing_is_told(bag: Path, tmp_path: Path) -> None:
    convert([bag], None, tmp_path / "demos", ConvertSettings(actions="next-state"))
    demos = Demos.open(tmp_path / "demos")
    assert demos.intervention is None
    assert "intervention" not in demos[0]


def test_sets_of_before_are_read(bag: Path, tmp_path: Path) -> None:
    convert([bag], None, tmp_path / "demos")
    index = tmp_path / "demos" / "demos.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"format": 2}))
    (tmp_path / "demos" / "intervention.npy").unlink()
    assert Demos.open(tmp_path / "demos").intervention is None
