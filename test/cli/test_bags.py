"""`hpt-ros bags` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import synthetic

from hpt_ros.cli.main import main
from hpt_ros.recording.edits import Edit, edit_of

ROBOT = synthetic.embodiment()


@pytest.fixture
def bags(tmp_path: Path) -> list[Path]:
    return [synthetic.record(tmp_path / "bags", ROBOT, synthetic.messages(ROBOT, 0.5), score) for score in (1.0, 0.5)]


def test_list_and_show_say_what_is_in_the_bags(bags, capsys) -> None:
    assert main(["bags", "exclude", str(bags[1]), "--reason", "dark"]) == 0
    assert main(["bags", "list", str(bags[0].parents[1])]) == 0
    lines = capsys.readouterr().out.splitlines()
    (first,) = [line for line in lines if bags[0].name in line]
    (second,) = [line for line in lines if bags[1].name in line]
    assert "tester" in first
    assert "excluded, dark" in second
    assert main(["bags", "show", str(bags[0])]) == 0
    shown = capsys.readouterr().out
    assert "reach the cube" in shown
    assert ROBOT.joints.topic in shown


def test_corrections_are_kept_beside_the_bags(bags) -> None:
    folder = str(bags[0].parent)
    assert main(["bags", "score", folder, "--score", "0.5"]) == 0
    assert main(["bags", "trim", str(bags[0]), "--start", "0.1", "--end", "0.2"]) == 0
    assert main(["bags", "exclude", str(bags[1])]) == 0
    assert edit_of(bags[0]) == Edit(score=0.5, trim_start_s=0.1, trim_end_s=0.2)
    assert edit_of(bags[1]) == Edit(score=0.5, excluded=True)
    assert main(["bags", "exclude", "--undo", str(bags[1])]) == 0
    assert edit_of(bags[1]) == Edit(score=0.5)
    assert list(json.loads((bags[0].parent / "edits.json").read_text())["episodes"]) == [b.name for b in bags]


@pytest.mark.parametrize("arguments", [["score", "--score", "0.7"], ["trim", "--start", "-1"]])
def test_bad_values_are_refused(bags, arguments, capsys) -> None:
    assert main(["bags", *arguments, str(bags[0])]) == 2
    assert "allowed" in capsys.readouterr().err
    assert edit_of(bags[0]) == Edit()


def test_verify_names_the_bad_ones(bags, capsys) -> None:
    assert main(["bags", "verify", str(bags[0].parent)]) == 0
    mcap = next(bags[1].glob("*.mcap"))
    data = bytearray(mcap.read_bytes())
    data[len(data) // 2] ^= 0xFF
    mcap.write_bytes(data)
    assert main(["bags", "verify", str(bags[0].parent)]) == 1
    said = capsys.readouterr().err
    assert "checksum is wrong" in said
    assert bags[1].name in said
    assert f"{bags[0].name}: " not in said
    assert "1 of 2 bags are whole" in said


def test_what_is_left_of_a_cut_bag_can_be_converted(tmp_path, capsys) -> None:
    bag = synthetic.record(tmp_path / "bags", ROBOT, synthetic.messages(ROBOT, 2.2))
    (mcap,) = bag.glob("*.mcap")
    whole = mcap.read_bytes()
    mcap.write_bytes(whole[: round(0.7 * len(whole))])
    assert main(["convert", str(bag), "--out", str(tmp_path / "demos")]) == 5
    assert f"hpt-ros bags salvage {bag}" in " ".join(capsys.readouterr().err.split())
    assert main(["bags", "salvage", str(bag)]) == 0
    copy = bag.parent / ".quarantine" / bag.name
    assert main(["bags", "verify", str(copy)]) == 0
    assert main(["bags", "score", str(copy), "--score", "1"]) == 0
    assert main(["convert", str(copy), "--out", str(tmp_path / "demos")]) == 0
    assert mcap.read_bytes() == whole[: round(0.7 * len(whole))]
    assert main(["bags", "salvage", str(bag)]) == 7
    mcap.write_bytes(whole[:40])
    copy.rename(tmp_path / "first")
    assert main(["bags", "salvage", str(bag)]) == 5
    assert not copy.exists()


def test_a_folder_without_bags_is_refused(tmp_path, capsys) -> None:
    assert main(["bags", "list", str(tmp_path)]) == 5
    assert "no bag here" in capsys.readouterr().err
