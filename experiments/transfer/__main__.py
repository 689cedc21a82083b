"""`python -m experiments.transfer [--quick]`: record, pre-train, fine-tune, try, report. Run again, it goes on where it stood."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from experiments.transfer.plan import FULL, QUICK, SEEDS
from hpt_ros.cli.output import console
from hpt_ros.errors import HptRosError


@dataclass(frozen=True)
class Job:
    """One piece of the experiment: `result` is there when it is done, `needs` before it can begin."""

    name: str
    result: Path
    call: Callable[..., None]
    arguments: tuple[object, ...] = ()
    needs: tuple[Path, ...] = ()


UNFINISHED = 75


def main() -> int:
    """0: all is done and reported. 75: the time was over; the same command goes on."""
    parser = argparse.ArgumentParser(prog="python -m experiments.transfer", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small variant: minutes instead of hours")
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
    pieces = Jobs(plan, options.out / plan.name)
    held_out = pieces.held_out(max(plan.counts))
    domains = tuple(pieces.domain(robot, task) for robot, task, _ in plan.pretrain_on)
    jobs = [Job("record held_out", held_out, pieces.record_held_out)]
    jobs += [
        Job(f"record {r} {t}", pieces.domain(r, t), pieces.record_domain, (r, t, k)) for r, t, k in plan.pretrain_on
    ]
    for seed in SEEDS:  # one after the other, so that a run that is cut short has something to tell
        trunk = pieces.trunk(seed)
        if seed < plan.pretrain_seeds:
            jobs.append(Job(f"pretrain {seed}", trunk, pieces.pretrain, (seed,), domains))
        for cell in plan.cells(seed):
            needs = (held_out, trunk) if cell.method == "pretrained" else (held_out,)
            jobs.append(Job(f"cell {cell.name}", pieces.cell(cell) / RESULT, pieces.finetune, (cell,), needs))
    left = [] if options.report else [job for job in jobs if not job.result.exists()]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        if not _finish(pool, left, options.jobs, time.monotonic() + options.stop_after_s):
            console.print("not finished: the same command goes on")
            return UNFINISHED
    sys.stdout.write(write_report(pieces, options.docs) + "\n")
    return 0


def _finish(pool: ProcessPoolExecutor, left: list[Job], width: int, deadline_s: float) -> bool:
    """Run the jobs, no more of them submitted than processes; False when the time was over before the last had begun."""
    total, began_s = len(left), time.monotonic()
    running: dict[Future[None], str] = {}
    while left or running:
        while len(running) < width and time.monotonic() < deadline_s:
            job = next((job for job in left if all(path.exists() for path in job.needs)), None)
            if job is None:
                break
            left.remove(job)
            running[pool.submit(job.call, *job.arguments)] = job.name
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
