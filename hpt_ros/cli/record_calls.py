"""The recorder's services for a person's session, which never waits for an answer itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from std_srvs.srv import Trigger

from hpt_ros.errors import StreamError
from hpt_ros.nodes.session import Session
from hpt_ros.recording.operator import Operator, Request
from hpt_ros.srv import StartEpisode, StopEpisode

_STOP_TIMEOUT_S = 30.0  # the recorder forces the whole bag to the disk


@dataclass(frozen=True)
class Job:
    """What is to be recorded, and by whom; `folder` holds the complete episodes of the task."""

    task: str
    instruction: str
    person: str
    target: int
    folder: Path


class Guard:
    """What must hold while the session waits for anything.

    Args:
        nodes: raises when a process has ended that the session needs.
    """

    def __init__(self, nodes: Callable[[], object] = lambda: None) -> None:
        self._nodes = nodes
        self._closed = threading.Event()

    def close(self) -> None:
        """From now on nothing is waited for."""
        self._closed.set()

    def check(self) -> None:
        """Raise if there is nothing to wait for.

        Raises:
            StreamError: the session is being closed.
        """
        if self._closed.is_set():
            raise StreamError("the recording session has ended")
        self._nodes()


class Calls:
    """The recorder's services, one call at a time in a thread of its own; a context manager."""

    def __init__(self, session: Session, job: Job, guard: Guard, prepare: Callable[[], str]) -> None:
        self._session, self._job, self._guard, self._prepare = session, job, guard, prepare
        self._scene = ""
        self._worker = ThreadPoolExecutor(1, "recorder-calls")
        self._answer: Future[tuple[str, str]] | None = None

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.close()
        self._worker.shutdown()

    @property
    def is_open(self) -> bool:
        """Whether a call has no answer yet, or one that was not taken."""
        return self._answer is not None

    def send(self, request: Request, operator: Operator, target: int) -> None:
        """Call the service of `request`; `target` is what the recorder's own count is to reach."""
        if request is Request.START:
            start = StartEpisode.Request(
                task=self._job.task,
                instruction=self._job.instruction,
                operator_name=self._job.person,
                episodes_target=max(0, target),
            )
            self._answer = self._worker.submit(self._start, start)
        elif request is Request.STOP:
            note = "; ".join(filter(None, (self._scene, operator.note)))
            stop = StopEpisode.Request(score=operator.score, note=note, termination="operator")
            self._answer = self._worker.submit(self._call, StopEpisode, request, stop, _STOP_TIMEOUT_S)
        else:
            self._answer = self._worker.submit(self._call, Trigger, request, Trigger.Request())

    def take(self) -> tuple[str, str] | None:
        """Path and message of the answer, None while there is none.

        Raises:
            HptRosError: refused, or no answer in time.
        """
        if self._answer is None or not self._answer.done():
            return None
        answer, self._answer = self._answer, None
        return answer.result()

    def _start(self, start: Any) -> tuple[str, str]:
        self._scene = self._prepare()
        return self._call(StartEpisode, Request.START, start)

    def _call(self, service: Any, request: Request, content: Any, timeout_s: float = 10.0) -> tuple[str, str]:
        response = self._session.call(service, f"/hpt_ros/recorder/{request.value}", content, timeout_s)
        return getattr(response, "path", ""), response.message
