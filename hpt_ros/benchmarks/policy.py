"""One policy step, from two 640 x 480 images and the state to a chunk, next to the published order of the same network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch

from hpt_ros.benchmarks.policy_reference import PublishedOrder
from hpt_ros.benchmarks.policy_scene import HORIZON, Stream, checkpoint
from hpt_ros.benchmarks.policy_timing import Stopwatch, busy_process
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal
from hpt_ros.model import Checkpoint, PolicyRunner
from hpt_ros.model.serving import candidates

SIZES = ("small", "base", "large", "xlarge")
JUDGED = "base"
FASTER, STEADY = 2.5, 1.5
"""Goals of size base: steps per step of the published order; p99 over p50 beside a busy process."""
STEPS, QUICK_STEPS, WARM_UP = 120, 30, 3
NOTES = (
    "p50_ms to max_ms are the step after decoding; both sides decode the two new images, in the same way: decode_ms",
    "encode_ms is all of the step that is not stem, trunk or head; one new frame a camera and step",
    "weights are random and pixels noise: no figure says anything about how good a policy is",
)


def run(quick: bool, say: Say) -> BenchReport:
    """Sides take turns step by step, so that whatever else the machine does meets both."""
    steps = QUICK_STEPS if quick else STEPS
    report = BenchReport("policy", {"horizon": HORIZON, "cameras": 2, "steps": steps, "quick": quick}, [])
    for size in (JUDGED,) if quick else SIZES:
        _measure(size, steps, report, say)
    report.notes.extend(NOTES)
    if not torch.cuda.is_available():
        report.notes.append("no GPU was found: CPU only")
    return report


def _measure(size: str, steps: int, report: BenchReport, say: Say) -> None:
    served = checkpoint(size)
    most = max(candidates(None)[:2])
    for threads in dict.fromkeys((1, most)):
        say(f"{size}: {threads} threads, this package and the published order in turns")
        pair = _Pair(served, threads)
        pair.run(steps)
        ours, theirs = pair.watches
        settings = {"size": size, "threads": threads}
        report.rows.append({"what": "this package", **settings, **ours.row()})
        report.rows.append({"what": "published order", **settings, **theirs.row()})
        ratio = theirs.p50_s("step") / ours.p50_s("step")
        whole = theirs.p50_s("step", "decode") / ours.p50_s("step", "decode")
        report.ratios[f"{size}, {threads} threads: published order / this package"] = ratio
        report.ratios[f"{size}, {threads} threads: the same with decoding"] = whole
        if size == JUDGED and threads == most:
            report.goals.append(Goal("base: times faster than the published order", ratio, FASTER, at_most=False))
    if size == JUDGED:
        _steady(served, steps, report, say)
    if torch.cuda.is_available():
        say(f"{size}: GPU")
        row = _alone(PolicyRunner(served, device="cuda", dtype="bfloat16"), steps, busy=False)
        report.rows.append({"what": "this package, cuda bfloat16", "size": size, "threads": 1, **row})


def _steady(served: Checkpoint, steps: int, report: BenchReport, say: Say) -> None:
    """The thread counts that the runner chooses itself, and one thread, with and without a busy neighbour."""
    for asked in (None, 1):
        runner = PolicyRunner(served, threads=asked)
        chosen = f"{runner.threads.encoder} threads" + (" (chosen)" if asked is None else "")
        for busy in (False, True):
            say(f"{JUDGED}: {chosen}" + (" beside a busy process" if busy else ""))
            row = _alone(runner, steps, busy)
            what = "this package, beside a busy process" if busy else "this package, alone"
            report.rows.append({"what": what, "size": JUDGED, "threads": runner.threads.encoder, **row})
            if busy and asked is None:
                spread = round(row["p99_ms"] / row["p50_ms"], 3)
                report.goals.append(Goal("base: p99 / p50 beside a busy process", spread, STEADY))


def _alone(runner: PolicyRunner, steps: int, busy: bool) -> dict[str, float]:
    stream, served = Stream(runner.embodiment), runner.served
    watch = Stopwatch(served.stems, served.trunk, served.head)
    with busy_process() if busy else nullcontext():
        for i in range(WARM_UP + steps):
            seen, decode_s = stream.next()
            watch.step(partial(runner.act, seen), decode_s)
            if i < WARM_UP:
                watch.steps.clear()
    return watch.row()


class _Pair:
    """Both sides on the same observations with as many threads."""

    def __init__(self, served: Checkpoint, threads: int) -> None:
        self._threads, self._runner = threads, PolicyRunner(served, threads=threads)
        self._reference = PublishedOrder(served.policy)
        ours = self._runner.served
        self.watches = (
            Stopwatch(ours.stems, ours.trunk, ours.head),
            Stopwatch(self._reference.stems, self._reference.trunk, self._reference.head),
        )

    def run(self, steps: int) -> None:
        stream = Stream(self._runner.embodiment)
        for i in range(WARM_UP + steps):
            seen, decode_s = stream.next()
            sides: list[tuple[Stopwatch, Callable[[], Any]]] = [
                (self.watches[0], partial(self._runner.act, seen)),
                (self.watches[1], partial(self._reference.act, seen.state, seen.images)),
            ]
            for watch, act in sides if i % 2 else sides[::-1]:
                torch.set_num_threads(self._threads)
                watch.step(act, decode_s)
            if i < WARM_UP:
                for watch in self.watches:
                    watch.steps.clear()
