from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hpt_ros.cli.main import main
from hpt_ros.demos import Demos
from hpt_ros.model import load_checkpoint
from hpt_ros.paths import config_dir
from hpt_ros.training.windows import Windows, all_episodes


def test_command_trains_and_sums_up(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs" / "reach"
    options = ["--preset", "quick", "--steps", "3", "--seed", "5", "--threads", "1", "--device", "cpu"]
    assert main(["finetune", str(folder), "--out", str(out), *options]) == 0
    printed = capsys.readouterr().err
    assert "3 steps" in printed
    assert str(out / "last") in printed.replace("\n", "")
    checkpoint = load_checkpoint(out / "last")
    assert checkpoint.provenance["seed"] == 5
    assert checkpoint.provenance["settings"]["steps"] == 3
    assert checkpoint.provenance["data"]["sets"] == [str(folder)]


def test_adaptation_of_a_trunk_by_options(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    options = ["--preset", "quick", "--steps", "2", "--threads", "1", "--device", "cpu"]
    assert main(["finetune", str(folder), "--out", str(first), *options]) == 0
    adapt = ["--trunk", str(first / "last"), "--freeze", "1", "--lora-rank", "2", "--allow-unused", "nothing.*"]
    assert main(["finetune", str(folder), "--out", str(second), *options, *adapt]) == 0
    assert "28 of 28 tensors loaded from" in capsys.readouterr().err.replace("\n", "")
    before, after = (load_checkpoint(path / "last").policy.trunk.state_dict() for path in (first, second))
    assert all(np.array_equal(after[name], tensor) for name, tensor in before.items())
    assert load_checkpoint(second / "last").provenance["settings"]["freeze"] == 1


def test_real_demonstrations_give_the_same_batches_as_those_in_memory(folder: Path, demos: Any) -> None:
    ticks = range(0, len(demos.state), 7)
    stored = Windows(all_episodes([Demos.open(folder)])).batch(ticks)
    memory = Windows(all_episodes([demos])).batch(ticks)
    assert np.array_equal(stored.action, memory.action)  # type: ignore[arg-type]
    assert np.array_equal(stored.valid, memory.valid)  # type: ignore[arg-type]
    assert all(np.array_equal(stored.images[name], memory.images[name]) for name in demos.images)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--preset", "fast"], 2, "quick, real_robot, sim"),
        (["--trunk", "absent"], 5, "no trunk at absent"),
        (["--preset", "real_robot"], 5, "curl -L -o"),
        (["--steps", "0"], 2, "steps"),
    ],
)
def test_bad_options_are_refused_and_leave_nothing(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", str(folder), "--out", "run", *options]) == code
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["demos"]


def test_folder_without_demonstrations_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", str(tmp_path), "--out", str(tmp_path / "run")]) == 5
    assert "hpt-ros convert" in capsys.readouterr().err


def test_page_of_a_run_needs_nothing_else(folder: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "run", tmp_path / "held_out.yaml"
    data = yaml.safe_load((config_dir("finetune") / "quick.yaml").read_text())
    settings.write_text(yaml.safe_dump(data | {"validation": {"fraction": 0.2, "every_steps": 2}}))
    options = ["--preset", str(settings), "--steps", "4", "--threads", "1", "--device", "cpu"]
    assert main(["finetune", str(folder), "--out", str(out), *options]) == 0
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert "a held-out episode" in page
    assert f"hpt-ros up policy checkpoint:={out / 'last'} embodiment:=sim_panda" in page
    assert "<td>panda_joint1</td><td>rad</td>" in page
