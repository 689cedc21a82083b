"""`hpt-ros demos` as a user types it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import synthetic

from hpt_ros.cli.main import main
from hpt_ros.demos import Demos, convert

ROBOT = synthetic.embodiment()


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    for score in (1.0, 0.5):
        synthetic.record(tmp_path / "bags", ROBOT, synthetic.messages(ROBOT, 0.5), score)
    convert([tmp_path / "bags"], None, tmp_path / "demos")
    return tmp_path / "demos"


def test_show_tells_of_every_episode_and_of_the_set(demos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demos", "show", str(demos)]) == 0
    shown, opened = capsys.readouterr().out, Demos.open(demos)
    for episode in opened.episodes:
        (line,) = [line for line in shown.splitlines() if episode.source in line]
        assert f" {episode.stop - episode.start} " in line
        assert "tester" in line
    assert f"2 episodes, {len(opened)} ticks" in shown
    assert "1 x 1, 1 x 0.5" in shown
    assert re.search(r"taken over: +0 ticks", shown)
    assert opened.fingerprint in shown
    assert "reach the cube" in shown
    files = sum((demos / "images" / name).stat().st_size for name in ("wrist.bin", "wrist.spans.npy"))
    assert f"wrist {files / 1e6:.1f} MB (received, {files / len(opened) / 1e3:.1f} kB a tick)" in shown


def test_view_writes_an_episode_and_names_the_layout(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "views" / "one.mcap"
    assert main(["demos", "view", str(demos), "--episode", "1", "--mcap", str(file)]) == 0
    assert file.stat().st_size > 0
    assert "demonstration.json" in capsys.readouterr().err
    assert main(["demos", "view", str(demos), "--mcap", str(file)]) == 7
    assert main(["demos", "view", str(demos), "--mcap", str(file), "--overwrite"]) == 0
    assert main(["demos", "view", str(demos)]) == 2


def test_what_is_not_installed_is_named(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("rerun", "pyarrow"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["demos", "view", str(demos), "--rerun"]) == 4
    assert "pip install rerun-sdk" in capsys.readouterr().err
    assert main(["demos", "export", str(demos), str(tmp_path / "out"), "--to", "lerobot"]) == 4
    assert "pip install pyarrow" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_export_and_import_as_typed(demos: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow (pip install pyarrow)")
    assert main(["demos", "export", str(demos), str(tmp_path / "out"), "--to", "lerobot"]) == 0
    assert main(["demos", "import", str(tmp_path / "out"), str(tmp_path / "back")]) == 0
    assert Demos.open(tmp_path / "back").episodes == Demos.open(demos).episodes
    assert main(["demos", "import", str(tmp_path / "out"), str(tmp_path / "back")]) == 7
    fr3 = ["demos", "import", str(tmp_path / "out"), str(tmp_path / "fr3"), "--embodiment", "fr3"]
    assert main(fr3) == 5
    assert main([*fr3, "--rename", "no-equals-sign"]) == 2


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    assert main(["demos", "show", str(tmp_path)]) == 5
