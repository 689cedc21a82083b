"""`hpt-ros convert` as it is typed."""

from __future__ import annotations

import pytest
import synthetic
import typer
from typer.testing import CliRunner

from hpt_ros.cli.convert import convert
from hpt_ros.demos import Demos
from hpt_ros.errors import BusyError

ROBOT = synthetic.embodiment()


@pytest.fixture
def run(tmp_path):
    synthetic.record(tmp_path / "bags", ROBOT, synthetic.messages(ROBOT, 1.0))
    app = typer.Typer()
    app.command()(convert)
    return lambda *args: CliRunner().invoke(app, [str(tmp_path / "bags"), "--out", str(tmp_path / "demos"), *args])


def test_converts_with_the_embodiment_in_the_bags_and_says_what_it_did(run, tmp_path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    ticks = len(Demos.open(tmp_path / "demos"))
    assert f"1 episodes, {ticks} ticks" in result.output
    assert all(stream in result.output for stream in ("joints", "gripper", "camera.front", "camera.wrist", "command"))


def test_refuses_to_overwrite_unless_told(run) -> None:
    assert run().exit_code == 0
    again = run()
    assert again.exit_code != 0
    assert isinstance(again.exception, BusyError)
    assert run("--overwrite").exit_code == 0
