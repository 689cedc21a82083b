"""Batches that are made ahead are those that were asked for, in any order, and few of them wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hpt_ros.training.ahead import AHEAD, Ahead


def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_items_follow_from_their_number_and_only_a_few_wait() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number * number

    items = Ahead(make, 12)
    assert items[0] == 0
    until(lambda: made == list(range(1 + AHEAD)))
    assert [items[k] for k in (1, 2, 3)] == [1, 4, 9]
    assert items[7] == 49  # as after an interruption
    assert [items[k] for k in (8, 9, 10, 11)] == [64, 81, 100, 121]
    assert made == sorted(set(made))
    assert max(made) == 11


def test_items_are_made_in_another_thread_and_their_errors_are_raised_here() -> None:
    def make(number: int) -> str:
        if number == 1:
            raise OSError("disk")
        return threading.current_thread().name

    items = Ahead(make, 3)
    assert items[0].startswith("batches")
    with pytest.raises(OSError, match="disk"):
        items[1]
    assert items[2].startswith("batches")
