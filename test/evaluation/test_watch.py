from __future__ import annotations

import pytest

from hpt_ros.evaluation.watch import Glimpse, TrialWatch


def look(watch: TrialWatch, now_s: float, state: str = "RUNNING", **seen: object) -> str:
    return watch.look(now_s, Glimpse(**{"state": state, "reason": "why", "source": "policy"} | seen))  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "ended"), [("FAULT", "fault"), ("IDLE", "refused")])
def test_a_bad_end_keeps_the_commanders_words(state, ended):
    watch = TrialWatch(100.0, 8.0)
    assert look(watch, 100.2, state) == "", "may be the status of before the engagement"
    assert look(watch, 101.0, state) == ended
    assert watch.reason == "why"


def test_success_and_time_out():
    watch = TrialWatch(0.0, 8.0)
    assert look(watch, 7.9) == ""
    assert look(watch, 8.1) == "timeout"
    assert look(watch, 8.1, success=True) == "success"
    assert watch.reason == ""


def test_a_short_hold_is_forgiven_and_a_long_one_ends_the_trial():
    watch = TrialWatch(0.0, 60.0)
    assert look(watch, 5.0, "HOLDING") == ""
    assert look(watch, 7.0, "HOLDING") == ""
    assert look(watch, 7.5) == ""
    assert look(watch, 10.0, "HOLDING") == ""
    assert look(watch, 13.5, "HOLDING") == "held"


def test_each_take_over_by_a_person_counts_once():
    watch = TrialWatch(0.0, 60.0)
    for now_s, source in enumerate(
        ["policy", "teleop:spacemouse", "teleop:spacemouse", "policy", "teleop:keyboard", "hold"]
    ):
        look(watch, float(now_s), source=source)
    assert watch.interventions == 2
