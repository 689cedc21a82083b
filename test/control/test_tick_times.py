"""What is remembered of every tick, and what a missed deadline is put down to."""

from __future__ import annotations

import time

import pytest

from hpt_ros.control import tick_times
from hpt_ros.control.tick_times import Histogram, ThreadUse, TickTimes, Use


def test_percentiles_are_exact_to_a_bin() -> None:
    found = Histogram()
    assert found.percentile_s(99) == 0.0
    for i in range(1, 1001):
        found.add(i * 1e-4)
    assert found.percentile_s(50) == pytest.approx(0.05, abs=2e-5)
    assert found.percentile_s(99) == pytest.approx(0.099, abs=2e-5)
    assert found.percentile_s(100) == found.largest_s == pytest.approx(0.1)
    found.add(3.0)
    assert found.percentile_s(100) == pytest.approx(0.2), "the last bin"
    assert found.to_mapping()["max_ms"] == 3000.0


@pytest.mark.parametrize(
    ("use", "cause"),
    [
        (Use(0.001, 0.018, 0.0), tick_times.PROCESSOR),
        (Use(0.018, 0.001, 0.0), tick_times.OWN_WORK),
        (Use(0.001, 0.002, 0.015), tick_times.INTERPRETER),
        (Use(0.001, 0.002, 0.003, 0.02), tick_times.HOST),
        (Use(0.001, 0.002, 0.003, 0.0, 0.015), tick_times.MAIN_WORK),
        (Use(0.001, 0.002, 0.003, 0.0, 0.003), tick_times.UNEXPLAINED),
    ],
)
def test_a_missed_deadline_is_put_down_to_what_most_of_it_was(use: Use, cause: str) -> None:
    now = Use(5.0, 6.0, 7.0, 8.0, 9.0)
    times = TickTimes(lambda: now)
    times.woke(0.0005)
    times.done()
    now = Use(*(a + b for a, b in zip(now, use, strict=True)))
    times.woke(0.020)
    times.done()
    found = times.to_mapping()
    assert found["ticks"] == 2
    assert found["missed"] == {cause: 1}
    assert found["worst"][0]["late_s"] == 0.020
    assert found["lateness"]["max_ms"] == 20.0


def test_what_the_host_took_is_counted_a_little_later() -> None:
    now = Use(0.0, 0.0, 0.0)
    times = TickTimes(lambda: now)
    times.woke(0.015)
    now = now._replace(stolen_s=0.01)
    times.done()
    assert times.to_mapping()["missed"] == {tick_times.HOST: 1}


def test_ticks_that_command_nothing_do_not_count() -> None:
    times = TickTimes(lambda: Use(0.0, 0.0, 0.0))
    times.woke(0.5, counts=False)
    times.done()
    assert times.to_mapping()["ticks"] == 0
    assert times.to_mapping()["missed"] == {}


def test_the_worst_misses_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick_times, "_KEPT", 50)
    times = TickTimes(lambda: Use(0.0, 0.0, 0.0))
    for i in range(200):
        times.woke(0.011 + i * 1e-4)
    kept = [miss["late_s"] for miss in times.to_mapping()["worst"]]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == pytest.approx(0.0309)
    assert len(kept) == 50
    assert times.to_mapping()["missed"] == {tick_times.UNEXPLAINED: 200}


def test_work_of_a_thread_shows_in_its_use() -> None:
    use = ThreadUse()
    before = use()
    if before.ran_s == 0.0:
        pytest.skip("this kernel keeps no schedstat")
    end_s = time.thread_time() + 0.05
    while time.thread_time() < end_s:
        pass
    assert use().ran_s - before.ran_s > 0.04
