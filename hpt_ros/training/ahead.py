"""Batches made in a thread of their own while the network learns from the one before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

AHEAD = 1  # batches that are ready or being made while one is used


class Ahead(Generic[T]):
    """Items 0 to `count` - 1 of a function of the number alone, made before they are asked for.

    What item k is does not depend on what was asked for or made before: a run that goes on meets the same items.
    At most `AHEAD` items wait.
    """

    def __init__(self, make: Callable[[int], T], count: int) -> None:
        self._make, self._count = make, count
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._made: dict[int, Future[T]] = {}

    def __getitem__(self, number: int) -> T:
        """Item `number`; raises what making it raised."""
        wanted = range(number, min(number + AHEAD, self._count - 1) + 1)
        for other in self._made.keys() - set(wanted):
            self._made.pop(other).cancel()
        for each in wanted:
            if each not in self._made:
                self._made[each] = self._pool.submit(self._make, each)
        return self._made.pop(number).result()
