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

from hpt_ros.benchmarks.processes import process
from hpt_ros.control.realtime import HIGHEST_PRIORITY, fifo_permitted
from hpt_ros.control.tick_times import MAIN_WORK, OWN_LOCK, UNEXPLAINED

_PERIOD_S = 0.002
_STANDSTILL_S = 0.004
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

    `times`: `TickTimes.to_mapping`; `seen`: by cause, the surest first.
    """
    for miss in times["worst"]:
        end_s, begin_s = miss["at_s"], miss["at_s"] - miss["late_s"]
        known_s = miss["waited_s"] + miss["worked_s"] + miss["main_waited_s"]
        for cause, spans in seen.items():
            replaced = (
                (UNEXPLAINED,) if cause == OWN_LOCK else (UNEXPLAINED, MAIN_WORK)
            )  # which may have been that lock
            seen_s = sum(max(0.0, min(end_s, until_s) - max(begin_s, from_s)) for from_s, until_s in spans)
            if miss["cause"] in replaced and seen_s and seen_s + known_s >= miss["late_s"] / 2:
                times["missed"][miss["cause"]] -= 1
                times["missed"][cause] = times["missed"].get(cause, 0) + 1
                miss["cause"] = cause


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
