"""Worker processes: the same bytes, what a killed run leaves, Ctrl-C, a worker that dies."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import synthetic

from hpt_ros.demos import convert, partial
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.embodiment import embodiment_to
from hpt_ros.errors import BusyError, DataError

ROBOT = synthetic.embodiment(action_horizon=4)
WAIT_S = 60

HANG = """
import pathlib, sys, time
from hpt_ros.demos import convert
def hang(done, total, name):
    if done >= 1:
        print("one", flush=True)
        time.sleep(600)
convert([pathlib.Path(sys.argv[1])], None, pathlib.Path(sys.argv[2]), workers=int(sys.argv[3]), progress=hang)
"""

SPECIAL = """#!{python}
import os, sys, time
import hpt_ros.demos.worker as worker
whole = worker.convert_bag
def convert_bag(job, *rest):
    if job.bag.name.endswith("_2"):
        {does}
    return whole(job, *rest)
worker.convert_bag = convert_bag
sys.exit(worker.main())
"""
DIES, NEVER_ENDS = "os.kill(os.getpid(), 9)", "time.sleep(600)"


def special_worker(folder: Path, does: str) -> Path:
    """An executable in the place of the interpreter, whose workers do something else with the second bag."""
    script = folder / "python"
    script.write_text(SPECIAL.format(python=sys.executable, does=does))
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workers")
    for seconds in (1.0, 1.4, 1.2):
        synthetic.record(root / "bags", ROBOT, synthetic.messages(ROBOT, seconds))
    return root / "bags"


@pytest.fixture(scope="module")
def reference(bags: Path) -> dict[str, bytes]:
    convert([bags], None, bags.parent / "reference")
    return content(bags.parent / "reference")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hanging(bags: Path, out: Path, workers: int) -> subprocess.Popen[str]:
    """A run in a process group of its own that has told of one finished bag and goes no further."""
    child = subprocess.Popen(
        [sys.executable, "-c", HANG, str(bags), str(out), str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "one\n"
    return child


def group_is_gone(group: int) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_changes_no_byte(bags, reference, tmp_path, workers) -> None:
    seen = []
    report = convert([bags], None, tmp_path / "demos", workers=workers, progress=lambda *what: seen.append(what))
    assert content(tmp_path / "demos") == reference
    assert (report.episodes, report.kept) == (3, 0)
    assert (seen[0], seen[-1][:2]) == ((0, 3, ""), (3.0, 3))
    assert not (tmp_path / ".demos.partial").exists()


def test_a_killed_run_goes_on_where_it_was(bags, reference, tmp_path, monkeypatch) -> None:
    out = tmp_path / "demos"
    child = hanging(bags, out, workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(partial, "_LOCK_PATIENCE_S", 0.0)
        with pytest.raises(BusyError, match="another run writes to"):
            convert([bags], None, out)
    child.kill()
    child.communicate()
    assert not out.exists()
    report = convert([bags], None, out)
    assert (report.episodes, report.kept) == (3, 1)
    assert content(out) == reference
    assert [path.name for path in tmp_path.iterdir()] == ["demos"]


def test_workers_of_a_killed_run_end_and_let_go(bags, reference, tmp_path) -> None:
    out = tmp_path / "demos"
    child = hanging(bags, out, workers=2)
    child.kill()
    child.communicate()
    assert group_is_gone(child.pid)
    handle = os.open(tmp_path / ".demos.partial", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
    assert convert([bags], None, out, workers=2).kept >= 1
    assert content(out) == reference


@pytest.mark.parametrize("changed", ["settings", "bag", "edit", "power cut"])
def test_what_was_finished_in_another_way_is_not_kept(tmp_path, changed) -> None:
    bag = synthetic.record(tmp_path / "bags", ROBOT, synthetic.messages(ROBOT, 1.0))
    synthetic.record(tmp_path / "bags", ROBOT, iter(list(synthetic.messages(ROBOT, 1.0))[:9]))
    with pytest.raises(DataError):
        convert([tmp_path / "bags"], None, tmp_path / "demos")
    settings = ConvertSettings()
    if changed == "settings":
        settings = ConvertSettings(receive_time=True)
    elif changed == "power cut":
        (facts,) = (tmp_path / ".demos.partial").glob("episodes/*/episode.json")
        facts.write_text("")
    elif changed == "edit":
        (bag.parent / "edits.json").write_text(f'{{"version": 1, "episodes": {{"{bag.name}": {{"trim_end_s": 0.2}}}}}}')
    else:
        metadata = bag / "metadata.yaml"
        metadata.write_text(metadata.read_text().replace("reach the cube", "reach the ball"))
    report = convert([tmp_path / "bags"], None, tmp_path / "demos", settings, allow_skips=True)
    assert (report.episodes, report.kept) == (1, 0)


def test_a_lower_score_limit_keeps_what_is_finished(tmp_path) -> None:
    for score in (1.0, 0.5):
        synthetic.record(tmp_path / "bags", ROBOT, synthetic.messages(ROBOT, 1.0), score)
    synthetic.record(tmp_path / "bags", ROBOT, iter(list(synthetic.messages(ROBOT, 1.0))[:9]))
    with pytest.raises(DataError):
        convert([tmp_path / "bags"], None, tmp_path / "demos")
    report = convert([tmp_path / "bags"], None, tmp_path / "demos", ConvertSettings(min_score=1.0), allow_skips=True)
    assert (report.episodes, report.kept) == (1, 1)
    assert "score 0.5 is below 1" in [reason for _, reason in report.skipped]


def test_ctrl_c_ends_every_worker(bags, tmp_path) -> None:
    child = hanging(bags, tmp_path / "demos", workers=2)
    os.killpg(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=WAIT_S)
    assert "KeyboardInterrupt" in said
    assert group_is_gone(child.pid)
    assert not (tmp_path / "demos").exists()


def test_a_dying_worker_costs_its_bag_only(bags, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", str(special_worker(tmp_path, DIES)))
    report = convert([bags], None, tmp_path / "demos", allow_skips=True, workers=2)
    assert report.episodes == 2
    ((bag, reason),) = report.skipped
    assert bag.endswith("_2")
    assert "ended with code -9" in reason


def test_an_interrupted_run_waits_for_no_bag(bags, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", str(special_worker(tmp_path, NEVER_ENDS)))

    def interrupt(done: float, total: int, name: str) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert([bags], None, tmp_path / "demos", workers=2, progress=interrupt)
    monkeypatch.undo()
    assert convert([bags], None, tmp_path / "demos").kept == 2


def test_a_worker_that_is_left_alone_ends_in_the_middle_of_a_bag(bags, tmp_path) -> None:
    worker = subprocess.Popen(
        [str(special_worker(tmp_path, NEVER_ENDS))],
        stdin=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert worker.stdin is not None
    context = {"embodiment": embodiment_to(ROBOT), "settings": ConvertSettings().to_mapping()}
    job = {"bag": str(bags / "reach" / "x_2"), "folder": str(tmp_path / "part"), "key": ""}
    worker.stdin.write(json.dumps(context) + "\n" + json.dumps(job) + "\n")
    worker.stdin.close()
    assert worker.wait(timeout=WAIT_S) == 0


def test_workers_load_neither_torch_nor_ros() -> None:
    code = "import sys, hpt_ros.demos.worker; print(sorted({'torch', 'rclpy', 'mujoco'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_a_set_lost_between_the_renames_comes_back(bags, reference, tmp_path) -> None:
    out = tmp_path / "demos"
    convert([bags], None, out)
    (tmp_path / ".demos.partial").mkdir()
    out.rename(tmp_path / ".demos.partial" / "old")
    with pytest.raises(BusyError, match="exists"):
        convert([bags], None, out)
    assert content(out) == reference
