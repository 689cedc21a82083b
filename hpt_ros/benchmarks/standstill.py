"""Times in which a processor of this machine ran nothing at all, not even its most urgent thread: a host's or the kernel's doing.

`python -m hpt_ros.benchmarks.standstill CORE FILE` watches one processor until SIGTERM.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.benchmarks.processes import process
from hpt_ros.control.realtime import HIGHEST_PRIORITY, fifo_permitted
from hpt_ros.control.tick_times import MAIN_WORK, OWN_LOCK, SEVERAL, UNEXPLAINED

_PERIOD_S = 0.002
_STANDSTILL_S = 0.001
_FILES = "standstill_{}.txt"

Span = tuple[float, float]
"""Begin and end (Unix time)."""


@contextmanager
def watch_processors(folder: Path) -> Iterator[None]:
    """A thread of the highest priority on each processor notes in `folder` when it was not woken in time.

    Without the permission nothing is noted: an ordinary thread is kept waiting by its neighbours.
    """
    with ExitStack() as stack:
        for core in os.sched_getaffinity(0) if fifo_permitted() >= HIGHEST_PRIORITY else ():
            file = str(folder / _FILES.format(core))
            stack.enter_context(process("hpt_ros.benchmarks.standstill", str(core), file))
        yield


def standstills(folder: Path) -> list[Span]:
    """What was noted there, of all processors."""
    lines = [line for file in folder.glob(_FILES.format("*")) for line in file.read_text().splitlines()]
    spans = [tuple(map(float, line.split())) for line in lines]
    return [(begin_s, end_s) for begin_s, end_s in spans]


def explain(times: dict[str, Any], seen: Mapping[str, Sequence[Span]]) -> None:
    """Put misses without a sure cause down to what was seen meanwhile, if that is what the known causes leave of most of the time.

    What no cause alone makes up for, all of them together may: `SEVERAL`. `times`: `TickTimes.to_mapping`; `seen`: by
    cause, the surest first.
    """
    arrays = {cause: np.array(spans, dtype=np.float64).reshape(-1, 2) for cause, spans in seen.items()}
    everything = np.concatenate([np.empty((0, 2)), *arrays.values()])
    for miss in times["worst"]:
        own_s = miss["waited_s"] + miss["worked_s"]
        for cause, spans in arrays.items():
            replaced = (
                (UNEXPLAINED,) if cause == OWN_LOCK else (UNEXPLAINED, MAIN_WORK)
            )  # which may have been that lock
            seen_s = _within(miss, spans)
            if miss["cause"] in replaced and seen_s and seen_s + own_s + miss["main_waited_s"] >= miss["late_s"] / 2:
                _put_down(times, miss, cause)
        if miss["cause"] == UNEXPLAINED:
            seen_s = _within(miss, everything)
            # a lock may be the interpreter's, whose holder waited: the same time twice
            if own_s + max(seen_s, miss["main_waited_s"]) >= miss["late_s"] / 2:
                _put_down(times, miss, SEVERAL)


def _put_down(times: dict[str, Any], miss: dict[str, Any], cause: str) -> None:
    times["missed"][miss["cause"]] -= 1
    times["missed"][cause] = times["missed"].get(cause, 0) + 1
    miss["cause"] = cause


def _within(miss: Mapping[str, Any], spans: NDArray[np.float64]) -> float:
    """How much of the delay [s] lies in any of the spans (N, 2)."""
    covered_s, reached_s, end_s = 0.0, miss["at_s"] - miss["late_s"], miss["at_s"]
    for from_s, until_s in sorted(spans[(spans[:, 1] > reached_s) & (spans[:, 0] < end_s)].tolist()):
        covered_s += max(0.0, min(end_s, until_s) - max(reached_s, from_s))
        reached_s = max(reached_s, until_s)
    return covered_s


def main() -> None:
    """Never returns."""
    core, path = int(sys.argv[1]), sys.argv[2]
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(HIGHEST_PRIORITY))
    gc.disable()
    with Path(path).open("w", buffering=1) as file:
        while True:
            slept_s = time.monotonic()
            time.sleep(_PERIOD_S)
            late_s = time.monotonic() - slept_s - _PERIOD_S
            if late_s > _STANDSTILL_S:
                now_s = time.time()
                file.write(f"{now_s - late_s:.6f} {now_s:.6f}\n")


if __name__ == "__main__":
    main()
