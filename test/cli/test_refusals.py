"""Bad input: a clear message, a non-zero exit, nothing half-written."""

import subprocess
import sys

import pytest


def run(*arguments: object, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpt_ros.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "dmeo"), "one of sim, viewer, policy, record, demo"),
        (("up", "policy"), "add checkpoint:=..."),
        (("up", "sim", "task=reach"), "name:=value"),
        (("convert", "nowhere", "--embodiment", "sim_panda", "--out", "demos"), "nowhere"),
        (
            ("convert", ".", "--embodiment", "ur5", "--out", "demos"),
            "fr3_crisp_pose, panda, panda_multipanda, sim_panda",
        ),
        (("finetune", "nowhere", "--out", "run"), "nowhere"),
        (("evaluate", "nowhere", "--out", "eval"), "nowhere"),
        (("record", "--sim", "--task", "juggle", "--bags", "bags"), "reach, lift, push"),
        (("recrod",), "No such command"),
    ],
)
def test_refused(tmp_path, arguments, message):
    finished = run(*arguments, cwd=tmp_path)
    assert finished.returncode not in (0, 130)
    assert message in finished.stderr.replace("\n", " ")
    assert "Traceback" not in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_version_and_help_need_no_ros(tmp_path):
    for option in ("--version", "--help"):
        assert run(option, cwd=tmp_path).returncode == 0
