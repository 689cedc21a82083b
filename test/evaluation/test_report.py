"""From files to a page: what is grouped, what is compared, what is on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpt_ros.errors import DataError
from hpt_ros.evaluation.report import Evaluation, group_mapping, grouped, write_summary
from hpt_ros.evaluation.report_page import report_page
from hpt_ros.evaluation.trials import Trial, TrialLog


def trial(index: int, key: str, score: float, block: int, **more: object) -> Trial:
    return Trial(
        *(index, block, score, "success" if score == 1.0 else "timeout", 2.0 + index),
        *(15.0, 8.0, 9.0, 100.0, 0.5, 12.0, 0, 0, 1.0),
        checkpoint=key,
        block=block,
        **more,  # type: ignore[arg-type]
    )


def write(folder: Path, keys: str, scores: list[float], simulated: bool = True, **settings: object) -> Path:
    header = {
        "checkpoints": [{"path": f"/lab/runs/{key}/last", "weights_sha256": key} for key in keys],
        **{"task": "lift", "seed": 5, "timeout_s": 8.0, "simulated": simulated, "variation": "none"},
        **settings,
    }
    log = TrialLog(folder / "trials.jsonl", header)
    for index, score in enumerate(scores):
        log.append(trial(index, keys[index % len(keys)], score, index // len(keys)))
    return folder


def test_one_evaluation_of_two_checkpoints(tmp_path):
    (group,) = grouped([Evaluation.load(write(tmp_path, "ab", [1.0, 0.0, 0.5, 1.0]))])
    found = group_mapping(group)
    assert [c["successes"] for c in found["candidates"]] == [1, 1]
    assert [c["mean_score"] for c in found["candidates"]] == [0.75, 0.5]
    assert found["candidates"][0]["checkpoint"] == "a/last"
    assert [(c["first"], c["second"], c["pairs"]) for c in found["comparisons"]] == [("a/last", "b/last", 2)]
    json.dumps(found)


def test_simulated_folders_of_the_same_starts_are_compared_and_real_ones_are_not(tmp_path):
    folders = [write(tmp_path / "s" / key, key, [1.0, 0.0]) for key in "ab"]
    (group,) = grouped([Evaluation.load(folder) for folder in folders])
    assert group.comparisons()[0].pairs == 2
    folders.append(write(tmp_path / "other_seed", "a", [1.0], seed=6))
    assert len(grouped([Evaluation.load(folder) for folder in folders])) == 2
    real = [Evaluation.load(write(tmp_path / "r" / key, key, [1.0], simulated=False)) for key in "ab"]
    assert [group.comparisons() for group in grouped(real)] == [[], []]


def test_the_same_checkpoint_in_two_folders_stays_two(tmp_path):
    folders = [write(tmp_path / name, "a", [1.0, score]) for name, score in (("x", 0.0), ("y", 1.0))]
    (group,) = grouped([Evaluation.load(folder) for folder in folders])
    assert [c["successes"] for c in group.candidates()] == [1, 2]


def test_the_summary_of_one_checkpoint_has_its_figures_on_top(tmp_path):
    evaluation = Evaluation.load(write(tmp_path, "a", [1.0, 0.0]))
    found = write_summary(tmp_path / "summary.json", evaluation)
    assert found["successes"] == 1
    assert json.loads((tmp_path / "summary.json").read_text())["candidates"][0]["successes"] == 1


def test_the_page_holds_everything_and_needs_nothing(tmp_path):
    folder = write(tmp_path, "ab", [1.0, 0.0])
    (folder / "videos").mkdir()
    (folder / "videos" / "t.webm").write_bytes(b"webm")
    evaluation = Evaluation.load(folder)
    noted = trial(2, "a", 0.5, 1, video="videos/t.webm", note="<slipped>", interventions=2, reason="held by a person")
    lost = trial(3, "b", 0.0, 1, video="videos/gone.webm")
    page = report_page(grouped([Evaluation(folder, evaluation.header, (*evaluation.trials, noted, lost))]))
    assert "&lt;slipped&gt;; 2 interventions" in page
    assert "timeout: held by a person" in page
    assert "data:video/webm;base64,d2VibQ==" in page
    assert "gone.webm is gone" in page
    assert "Not shown" in page
    assert page.count("data:image/png") == 2
    assert 'src="data:' in page
    assert "http" not in page.replace("https://", "")


def test_the_command_writes_page_and_figures(tmp_path):
    folder = write(tmp_path / "out", "a", [1.0])
    command = [sys.executable, "-m", "hpt_ros.cli.main", "report", str(folder), "--json", "-"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["groups"][0]["candidates"][0]["trials"] == 1
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    refused = subprocess.run([*command[:4], str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == DataError.exit_code
    assert "trials.jsonl" in refused.stderr


def test_files_without_checkpoints_are_refused(tmp_path):
    TrialLog(tmp_path / "trials.jsonl", {"checkpoint": "old"})
    with pytest.raises(DataError, match="older version"):
        Evaluation.load(tmp_path)
