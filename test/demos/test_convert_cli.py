"""`hpt-ros convert` as it is typed."""

from __future__ import annotations

import pytest
import synthetic
import typer
from typer.testing import CliRunner

from hpt_ros.cli.convert import convert
from hpt_ros.demos import Demos
from hpt_ros.errors import BusyError, ConfigError, DataError

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


def test_says_what_was_cut_and_what_is_unusual(run, tmp_path) -> None:
    result = run("--receive-time", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "stamped with the times of receipt" in result.output
    assert "0.0 s of standing still cut off" in result.output
    assert "100.0%" in result.output


def test_descriptions_of_foreign_bags_come_together(run) -> None:
    result = run("--task", "reach")
    assert isinstance(result.exception, ConfigError)
    assert "--embodiment, --task and --score together" in str(result.exception)
    assert run("--task", "reach", "--score", "1", "--embodiment", "sim_panda_compressed").exit_code != 0


def test_several_workers_and_bad_bags(run, tmp_path) -> None:
    synthetic.record(tmp_path / "bags", ROBOT, iter(list(synthetic.messages(ROBOT, 1.0))[:20]))
    refused = run("--workers", "2")
    assert isinstance(refused.exception, DataError)
    assert "--allow-skips" in refused.exception.remedy
    accepted = run("--workers", "2", "--allow-skips")
    assert accepted.exit_code == 0
    assert "1 episodes were finished by an earlier run" in accepted.output


def test_unknown_actions_are_refused(run) -> None:
    assert "next-state" in str(run("--actions", "guessed").exception)
