import time
from collections.abc import Callable
from itertools import chain, repeat

import pytest

from hpt_ros.control.pacing import Pacer, Window

pytestmark = pytest.mark.live


def stalling(stalls_s: list[float], ahead_ns: int) -> Callable[[], int]:
    """A clock that is `ahead_ns` ahead; between its reading and the reader's next step the thread loses its processor."""
    pauses = chain(stalls_s, repeat(0.0))

    def read() -> int:
        now_ns = time.monotonic_ns() + ahead_ns
        time.sleep(next(pauses))
        return now_ns

    return read


def test_a_stall_between_two_clocks_does_not_move_the_deadline() -> None:
    pacer, ahead_ns = Pacer(100.0), 10**15
    for stalls_s in ([], [0.1], [0.1, 0.1], [0.0, 0.1]):
        pacer.wait()
        expected_ns = round(pacer._deadline_s * 1e9) + ahead_ns
        assert abs(pacer.deadline_ns(stalling(stalls_s, ahead_ns)) - expected_ns) < 20_000_000


def test_deadlines_that_were_missed_are_skipped_and_counted() -> None:
    pacer = Pacer(100.0)
    pacer.wait()
    time.sleep(0.05)
    pacer.wait()
    assert pacer.periods == 2
    assert pacer.missed >= 4


def test_percentiles_are_those_of_the_values_that_are_still_in_the_window() -> None:
    window = Window(0.2)
    assert (window.percentile(50), window.rate_hz()) == (0.0, 0.0)
    for value in (3.0, 1.0, 2.0):
        window.add(value)
    assert [window.percentile(p) for p in (0, 50, 100)] == [1.0, 2.0, 3.0]
    window.add(9.0)
    assert window.percentile(100) == 9.0
    time.sleep(0.25)
    assert (window.percentile(100), window.rate_hz()) == (0.0, 0.0)
    window.add(4.0)
    assert [window.percentile(p) for p in (0, 100)] == [4.0, 4.0]
