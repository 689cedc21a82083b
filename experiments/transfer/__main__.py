"""`python -m experiments.transfer [--quick]`: record, pre-train, fine-tune, try, report. Run again, it goes on where it stood."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from experiments.transfer.plan import FULL, QUICK
from hpt_ros.cli.output import console
from hpt_ros.errors import HptRosError

Job = tuple[str, Path, Callable[..., None], tuple[object, ...]]
"""Name, what is there when it is done, and the call."""
UNFINISHED = 75


def main() -> int:
    """0: all is done and reported. 75: the time was over; the same command goes on."""
    parser = argparse.ArgumentParser(prog="python -m experiments.transfer", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small variant: minutes instead of a night")
    parser.add_argument("--out", type=Path, default=Path("out/transfer"))
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where transfer.md and its figure are written")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--stop-after-s", type=float, default=float("inf"), help="begin nothing new after so long")
    parser.add_argument("--report", action="store_true", help="begin nothing: write what is done")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the workers, which import torch after this

    from experiments.transfer.jobs import RESULT, Jobs
    from experiments.transfer.report import write_report

    plan = QUICK if options.quick else FULL
    jobs = Jobs(plan, options.out / plan.name)
    deadline_s = time.monotonic() + options.stop_after_s
    most = jobs.held_out(max(plan.counts))
    stages: list[list[Job]] = [
        [("record held_out", most, jobs.record_held_out, ())]
        + [(f"record {r} {t}", jobs.domain(r, t), jobs.record_domain, (r, t, k)) for r, t, k in plan.pretrain_on],
        [(f"pretrain {seed}", jobs.trunk(seed), jobs.pretrain, (seed,)) for seed in range(plan.pretrain_seeds)],
        [(f"cell {cell.name}", jobs.cell(cell) / RESULT, jobs.finetune, (cell,)) for cell in plan.cells],
    ]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for stage in [] if options.report else stages:
            if not _finish(pool, [job for job in stage if not job[1].exists()], options.jobs, deadline_s):
                console.print("not finished: the same command goes on")
                return UNFINISHED
    sys.stdout.write(write_report(jobs, options.docs) + "\n")
    return 0


def _finish(pool: ProcessPoolExecutor, left: list[Job], width: int, deadline_s: float) -> bool:
    """Run the jobs, no more of them submitted than processes; False when the time was over before the last had begun."""
    total, began_s = len(left), time.monotonic()
    running: dict[Future[None], str] = {}
    while left or running:
        while left and len(running) < width and time.monotonic() < deadline_s:
            name, _, call, arguments = left.pop(0)
            running[pool.submit(call, *arguments)] = name
        if not running:
            return False
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            name = running.pop(future)
            future.result()
            elapsed_s = time.monotonic() - began_s
            console.print(f"{name}: done, {len(left) + len(running)} of {total} left, {elapsed_s:.0f} s")
    return True


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HptRosError as error:
        console.print(str(error), markup=False)
        sys.exit(error.exit_code)
