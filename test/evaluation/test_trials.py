import dataclasses
import json

import pytest

from hpt_ros.errors import ConfigError, DataError
from hpt_ros.evaluation.statistics import wilson_interval
from hpt_ros.evaluation.trials import Trial, TrialLog, load_trials, summary

HEADER = {"checkpoint": "runs/a", "seed": 1}


def trial(index: int, score: float = 1.0) -> Trial:
    termination = "success" if score == 1.0 else "timeout"
    return Trial(index, index, score, termination, 2.0 + index, 15.0, 8.0, 9.0, 100.0, 0.5, 12.0, 0, 1, 1.0)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # by hand: p = 8/10, z = 1.96: (0.8 + 0.19208 -+ 1.96 sqrt(0.016 + 0.009604)) / 1.38416
        (8, 10, 0.49016, 0.94332),
        (0, 20, 0.0, 0.16113),
        (20, 20, 0.83887, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval_agrees_with_hand_computation(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_trials_survive_and_go_on(tmp_path):
    path = tmp_path / "new" / "trials.jsonl"
    log = TrialLog(path, HEADER)
    log.append(trial(0))
    log.append(trial(1, 0.0))
    again = TrialLog(path, HEADER)
    assert again.trials == [trial(0), trial(1, 0.0)]
    again.append(trial(2))
    assert len(TrialLog(path, HEADER).trials) == 3


def test_a_row_torn_by_a_crash_is_dropped_and_the_rest_kept(tmp_path):
    path = tmp_path / "trials.jsonl"
    log = TrialLog(path, HEADER)
    log.append(trial(0))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"index": 1, "sco')
    log = TrialLog(path, HEADER)
    assert log.trials == [trial(0)]
    assert path.read_bytes() == whole
    log.append(trial(1))
    assert TrialLog(path, HEADER).trials == [trial(0), trial(1)]


def test_trials_of_something_else_are_refused_or_moved_aside(tmp_path):
    path = tmp_path / "trials.jsonl"
    TrialLog(path, HEADER).append(trial(0))
    other = HEADER | {"checkpoint": "runs/b"}
    with pytest.raises(DataError, match=r"checkpoint was 'runs/a', is 'runs/b'"):
        TrialLog(path, other)
    assert TrialLog(path, other, replace=True).trials == []
    kept = [p for p in tmp_path.iterdir() if p != path]
    assert len(kept) == 1
    assert json.loads(kept[0].read_text().splitlines()[0]) == HEADER


def test_a_damaged_line_in_the_middle_is_told(tmp_path):
    path = tmp_path / "trials.jsonl"
    TrialLog(path, HEADER).append(trial(0))
    path.write_text(path.read_text() + "garbage\n" + json.dumps(dataclasses.asdict(trial(1))) + "\n")
    with pytest.raises(DataError, match=r"trials\.jsonl"):
        TrialLog(path, HEADER)


def test_a_score_is_one_of_three():
    with pytest.raises(ConfigError, match="score"):
        trial(0, 0.7)


def test_summary_counts_by_hand():
    result = summary([trial(0), trial(1, 0.0), trial(2), trial(3, 0.5)])
    assert result["successes"] == 2
    assert result["success_rate"] == 0.5
    assert result["mean_score"] == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert result["time_to_success_s"] == pytest.approx(3.0)
    assert result["terminations"] == {"success": 2, "timeout": 2}
    assert result["rows_late"] == 4
    assert result["policy_rate_hz"] == {"median": 15.0, "min": 15.0, "max": 15.0}


def test_a_score_that_is_taken_back_frees_its_place_and_stays_in_the_file(tmp_path):
    path = tmp_path / "trials.jsonl"
    log = TrialLog(path, HEADER)
    log.append(trial(0))
    log.append(trial(1, 0.0))
    log.take_back(log.trials[-1])
    assert [t.index for t in log.trials] == [0]
    assert TrialLog(path, HEADER).trials == [trial(0)]
    log.append(trial(1, 1.0))
    assert [t.score for t in TrialLog(path, HEADER).trials] == [1.0, 1.0]
    assert len(path.read_text().splitlines()) == 5
    assert load_trials(path) == (HEADER, log.trials)


def test_reading_changes_nothing(tmp_path):
    path = tmp_path / "trials.jsonl"
    TrialLog(path, HEADER).append(trial(0))
    path.write_bytes(path.read_bytes() + b'{"torn')
    before = path.read_bytes()
    assert load_trials(path)[1] == [trial(0)]
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="no trials"):
        load_trials(tmp_path / "nowhere.jsonl")
