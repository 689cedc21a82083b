"""Benchmarks by name; each is imported only when it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from hpt_ros.benchmarks.report import BenchReport
from hpt_ros.errors import ConfigError

Say = Callable[[str], None]
"""Tells the person what is measured now."""


@dataclass(frozen=True)
class Benchmark:
    """`module` has `run(quick: bool, say: Say) -> BenchReport`; quick takes a minute at most and proves less.

    One that is `timed` takes `seconds` as a third argument: how long to measure, None for its usual time. One that is `long`
    runs only when it is named.
    """

    module: str
    description: str
    timed: bool = False
    long: bool = False


BENCHMARKS = {
    "batches": Benchmark("hpt_ros.benchmarks.batches", "random windows for training, against one file per frame"),
    "policy": Benchmark("hpt_ros.benchmarks.policy", "one policy step, from images and state to the action chunk"),
    "convert": Benchmark("hpt_ros.benchmarks.convert", "bags to demonstrations: speed against the common loop, memory"),
    "delay": Benchmark("hpt_ros.benchmarks.delay", "slow inference: seams, tracking and success of each strategy"),
    "loop": Benchmark(
        "hpt_ros.benchmarks.loop",
        "the whole loop over DDS: lateness of the control thread, way of a picture",
        timed=True,
    ),
    "soak": Benchmark(
        "hpt_ros.benchmarks.soak",
        "the loop and the recorder for an hour: flat memory, a cause for every missed deadline",
        timed=True,
        long=True,
    ),
    "finetune": Benchmark(
        "hpt_ros.benchmarks.finetune",
        "a fine-tuning step on cached features, and computing these: against the published loop",
    ),
    "record": Benchmark("hpt_ros.benchmarks.record", "the recorder at full load: loss, processor time, memory"),
    "limits": Benchmark(
        "hpt_ros.benchmarks.limits", "random and hostile chunks: the commanded motion keeps every limit"
    ),
}


def run_benchmark(name: str, quick: bool, say: Say, seconds: float | None = None) -> BenchReport:
    """Run one benchmark.

    Raises:
        ConfigError: no benchmark of that name, or one whose time is its own.
    """
    if name not in BENCHMARKS:
        raise ConfigError("bench", name, f"one of {', '.join(BENCHMARKS)}")
    timed = [other for other, benchmark in BENCHMARKS.items() if benchmark.timed]
    if seconds is not None and (name not in timed or seconds <= 0):
        raise ConfigError("seconds", seconds, f"above 0, for {', '.join(timed)} only")
    arguments = (quick, say, seconds) if name in timed else (quick, say)
    report: BenchReport = import_module(BENCHMARKS[name].module).run(*arguments)
    return report
