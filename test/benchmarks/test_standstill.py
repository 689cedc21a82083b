"""Misses that a processor which stood still explains, by hand; and a processor that is watched."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from hpt_ros.benchmarks.standstill import explain, standstills, watch_processors
from hpt_ros.control.realtime import HIGHEST_PRIORITY, fifo_permitted
from hpt_ros.control.tick_times import HOST, MAIN_WORK, OWN_LOCK, PROCESSOR, SEVERAL, SHARED_LOCK, UNEXPLAINED


def times(*causes: str) -> dict[str, Any]:
    """Each was 20 ms late, a second after the one before."""
    parts = {"late_s": 0.02, "waited_s": 0.001, "worked_s": 0.002, "main_waited_s": 0.0}
    worst = [parts | {"at_s": 100.0 + i, "cause": cause} for i, cause in enumerate(causes)]
    return {"worst": worst, "missed": {cause: causes.count(cause) for cause in causes}}


@pytest.mark.parametrize(
    ("span", "cause"),
    [
        ((99.985, 99.999), HOST),
        ((99.9, 99.991), HOST),
        ((99.992, 100.5), HOST),
        ((99.995, 100.5), UNEXPLAINED),
        ((99.9, 99.985), UNEXPLAINED),
        ((100.985, 100.999), UNEXPLAINED),
    ],
)
def test_most_of_the_delay_must_lie_in_it(span: tuple[float, float], cause: str) -> None:
    found = times(UNEXPLAINED)
    explain(found, {HOST: [span]})
    assert found["worst"][0]["cause"] == cause
    assert found["missed"][cause] == 1
    assert sum(found["missed"].values()) == 1


def test_a_standstill_that_was_seen_goes_before_a_guess() -> None:
    found = times(MAIN_WORK)
    explain(found, {HOST: [(99.985, 99.999)]})
    assert found["missed"] == {MAIN_WORK: 0, HOST: 1}


@pytest.mark.parametrize(
    ("before", "seen", "after"),
    [
        (UNEXPLAINED, (SHARED_LOCK, OWN_LOCK), SHARED_LOCK),
        (UNEXPLAINED, (OWN_LOCK,), OWN_LOCK),
        (MAIN_WORK, (SHARED_LOCK,), SHARED_LOCK),
        (MAIN_WORK, (OWN_LOCK,), MAIN_WORK),
    ],
)
def test_the_surest_goes_first_and_the_interpreters_lock_has_a_better_name(
    before: str, seen: tuple[str, ...], after: str
) -> None:
    found = times(before)
    explain(found, {cause: [(99.985, 99.999)] for cause in seen})
    assert found["worst"][0]["cause"] == after


@pytest.mark.parametrize(
    ("lock", "cause"),
    [((99.990, 99.994), SEVERAL), ((99.984, 99.988), UNEXPLAINED)],  # 3 ms known of 20, 4 ms stood still
)
def test_causes_are_added_up_without_counting_a_time_twice(lock: tuple[float, float], cause: str) -> None:
    found = times(UNEXPLAINED)
    explain(found, {HOST: [(99.984, 99.988)], SHARED_LOCK: [lock]})
    assert found["worst"][0]["cause"] == cause
    assert found["missed"] == {UNEXPLAINED: 0} | {cause: 1}


def test_what_has_a_cause_keeps_it() -> None:
    found = times(PROCESSOR)
    explain(found, {HOST: [(99.9, 100.1)]})
    assert found["missed"] == {PROCESSOR: 1}


def test_every_processor_is_watched_where_it_is_permitted(tmp_path: Path) -> None:
    permitted = fifo_permitted() >= HIGHEST_PRIORITY
    cores = os.sched_getaffinity(0) if permitted else set()
    with watch_processors(tmp_path):
        end_s = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < len(cores) and time.monotonic() < end_s:
            time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) == len(cores)
    (tmp_path / "standstill_99.txt").write_text("10.5 10.75\n")
    assert (10.5, 10.75) in standstills(tmp_path)
