"""Several bags at a time, each in a worker process; a worker that dies costs its bag and nothing else."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

from hpt_ros.demos.part import Job, Outcome, convert_bag
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.embodiment import Embodiment, embodiment_to

Event = tuple[Job, "float | Outcome | OSError"]
"""A job, and the share of it that is done, or what became of it, or the disk's refusal."""


def default_workers() -> int:
    """One per core that this process may use."""
    return len(os.sched_getaffinity(0))


def run_jobs(
    jobs: Sequence[Job], embodiment: Embodiment, settings: ConvertSettings, workers: int, lock: int
) -> Generator[Event, None, None]:
    """Events of all jobs, in the order in which they happen. One worker is this process itself.

    `lock`: a descriptor that workers hold as well, so that its lock lasts until the last of them has ended.
    """
    if min(workers, len(jobs)) <= 1:
        for job in jobs:
            try:
                yield job, convert_bag(job, embodiment, settings, lambda _: None)
            except OSError as error:
                yield job, error
        return
    context = json.dumps({"embodiment": embodiment_to(embodiment), "settings": settings.to_mapping()})
    pool = _Pool(jobs, context, lock)
    try:
        pool.start(min(workers, len(jobs)))
        yield from pool.events()
    finally:
        pool.end()


class _Pool:
    """One thread per worker process gives it jobs and passes on what it says."""

    def __init__(self, jobs: Sequence[Job], context: str, lock: int) -> None:
        self._count = len(jobs)
        self._context = context
        self._lock = lock
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            self._jobs.put(job)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self._ended = False

    def start(self, workers: int) -> None:
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def events(self) -> Generator[Event, None, None]:
        left = self._count
        while left:
            event = self._events.get()
            left -= not isinstance(event[1], float)
            yield event

    def end(self) -> None:
        with self._guard:
            self._ended = True
            for child in self._children:
                child.kill()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        child: subprocess.Popen[str] | None = None
        while (job := self._next()) is not None:
            try:
                child = child or self._spawn()
                if child is None:
                    return
                self._events.put((job, self._outcome(job, child)))
            except OSError as error:  # no process can be had
                self._events.put((job, error))
            if child is not None and child.poll() is not None:
                self._gone(child)
                child = None
        if child is not None:
            self._gone(child)

    def _next(self) -> Job | None:
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            return None

    def _spawn(self) -> subprocess.Popen[str] | None:
        with self._guard:
            if self._ended:
                return None
            child = subprocess.Popen(
                [sys.executable, "-m", "hpt_ros.demos.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
                pass_fds=(self._lock,),
            )
            self._children.add(child)
        _write(child, self._context)
        return child

    def _gone(self, child: subprocess.Popen[str]) -> None:
        with self._guard:
            self._children.discard(child)
        child.kill()
        child.communicate()

    def _outcome(self, job: Job, child: subprocess.Popen[str]) -> Outcome | OSError:
        _write(child, json.dumps({"bag": str(job.bag), "folder": str(job.folder), "key": job.key}))
        assert child.stdout is not None
        for line in child.stdout:
            if not line.endswith("\n"):
                break  # it was killed in the middle of a word
            said: dict[str, Any] = json.loads(line)
            if "outcome" in said:
                return Outcome(**said["outcome"])
            if "errno" in said:
                return OSError(said["errno"], said["message"])
            self._events.put((job, float(said["share"])))
        code = child.wait()
        return Outcome(
            "bad",
            f"the process that converted it ended with code {code}",
            "a code of -9 means that memory ran out: pass fewer --workers; its message stands above otherwise",
        )


def _write(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it is dead, as its silence will tell
        child.stdin.write(line + "\n")
        child.stdin.flush()
