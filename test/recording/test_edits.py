"""Corrections lie beside the bags, are honoured at conversion, and change no bag."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import synthetic

from hpt_ros.demos import Demos, convert
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.recording.edits import FILE, Edit, change_edit, edit_of

ROBOT = synthetic.embodiment()


@pytest.fixture
def bags(tmp_path: Path) -> list[Path]:
    return [
        synthetic.record(tmp_path / "bags", ROBOT, synthetic.messages(ROBOT, 2.0), score) for score in (1.0, 1.0, 0.0)
    ]


def digest(folder: Path) -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_changes_add_up_and_leave_the_bag_alone(bags) -> None:
    before = digest(bags[0])
    assert edit_of(bags[0]) == Edit()
    change_edit(bags[0], excluded=True, reason="cable in view")
    change_edit(bags[0], score=0.5)
    change_edit(bags[1], trim_end_s=0.25)
    assert edit_of(bags[0]) == Edit(excluded=True, score=0.5, reason="cable in view")
    change_edit(bags[0], excluded=False)
    assert edit_of(bags[0]) == Edit(score=0.5, reason="cable in view")
    assert edit_of(bags[1]) == Edit(trim_end_s=0.25)
    assert digest(bags[0]) == before
    assert sorted(p.name for p in bags[0].parent.iterdir()) == sorted([*(b.name for b in bags), FILE])


def test_conversion_honours_and_records_them(bags, tmp_path) -> None:
    plain = convert(bags, None, tmp_path / "plain")
    change_edit(bags[0], excluded=True, reason="blurred")
    change_edit(bags[1], trim_start_s=0.4, trim_end_s=0.6)
    change_edit(bags[2], score=1.0)
    report = convert(bags, None, tmp_path / "edited")
    assert (plain.episodes, report.episodes) == (2, 2)
    assert report.skipped == ((str(bags[0]), "excluded, blurred"),)
    demos = Demos.open(tmp_path / "edited")
    trimmed, rescored = demos.episodes
    assert rescored.score == 1.0
    assert (rescored.stop - rescored.start) - (trimmed.stop - trimmed.start) == pytest.approx(15, abs=1)  # 1 s at 15 Hz
    index = json.loads((tmp_path / "edited" / "demos.json").read_text())
    assert index["provenance"]["edits"] == {
        f"reach/{bags[0].name}": {"excluded": True, "reason": "blurred"},
        f"reach/{bags[1].name}": {"trim_start_s": 0.4, "trim_end_s": 0.6},
        f"reach/{bags[2].name}": {"score": 1.0},
    }
    assert set(report.edits) == set(index["provenance"]["edits"])


def test_trimming_all_of_it_away_is_refused(bags, tmp_path) -> None:
    change_edit(bags[0], trim_start_s=1.5, trim_end_s=1.5)
    with pytest.raises(DataError, match=r"nothing is left of 2\.0 s: trimmed by 1\.5 s and 1\.5 s"):
        convert(bags, None, tmp_path / "demos")


@pytest.mark.parametrize("changes", [{"score": 0.7}, {"trim_start_s": -1.0}])
def test_bad_values_change_nothing(bags, changes) -> None:
    with pytest.raises(ConfigError):
        change_edit(bags[0], **changes)
    assert not (bags[0].parent / FILE).exists()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 9, "episodes": {}}', '{"version": 1, "episodes": {"a": {"x": 1}}}']
)
def test_a_damaged_file_is_an_error_not_an_empty_one(bags, text) -> None:
    (bags[0].parent / FILE).write_text(text)
    with pytest.raises(DataError, match=r"edits\.json"):
        edit_of(bags[0])
    with pytest.raises(DataError):
        change_edit(bags[0], excluded=True)
    assert (bags[0].parent / FILE).read_text() == text
