"""Start the processes of a layout together and end them together, whatever happens to whom."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from hpt_ros.bringup.environment import node_environment
from hpt_ros.bringup.layout import Layout, Process, namespace_of, ros_parameters
from hpt_ros.bringup.shared_memory import mapped_segments, remove_segments
from hpt_ros.configuration import check
from hpt_ros.errors import HptRosError

log = logging.getLogger(__name__)

_END_STEPS = ((signal.SIGINT, 2.0), (signal.SIGTERM, 1.0), (signal.SIGKILL, 1.0))  # [s] of patience; 4 s in all
_PR_SET_PDEATHSIG = 1  # prctl(2)


class ChildDiedError(HptRosError):
    """A process ended that should have gone on; the message holds the end of its output."""

    exit_code = 8


class Supervisor:
    """Runs the active processes of one layout in one ROS domain; use it as a context manager.

    Output goes to `<log_dir>/<executable>.log`. Children get SIGTERM from the kernel should this process be killed.
    """

    def __init__(self, layout: Layout, arguments: Mapping[str, str], domain_id: int, log_dir: Path) -> None:
        self._values = layout.resolve(arguments)
        check(
            not self._values.get("cameras"),
            "cameras",
            self._values.get("cameras"),
            "empty here: ros2 launch starts them",
        )
        self._processes = layout.active(self._values)
        self._environment = node_environment(domain_id, log_dir, local=layout.simulated)
        self._domain_id = domain_id
        self._log_dir = log_dir
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Supervisor:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        try:
            for process in self._processes:
                self._children[process.executable] = self._spawn(process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def logs(self) -> dict[str, Path]:
        """Log file by executable."""
        return {name: self._log_path(name) for name in self._children}

    def check(self) -> None:
        """Raise if a child has ended.

        Raises:
            ChildDiedError: with its name, exit code and last lines.
        """
        for name, child in self._children.items():
            if (code := child.poll()) is not None:
                raise ChildDiedError(
                    f"{name} ended with code {code}:\n{tail(self._log_path(name))}",
                    f"the whole log is {self._log_path(name)}",
                )

    def wait(self) -> None:
        """Block until a child ends, then raise as `check` does."""
        while True:
            self.check()
            time.sleep(0.2)

    def stop(self) -> None:
        """End every child within 4 s and remove the shared memory that a killed one could not."""
        segments = set().union(*(mapped_segments(child.pid) for child in self._alive()))
        for number, patience_s in _END_STEPS:
            for child in self._alive():
                child.send_signal(number)
            deadline = time.monotonic() + patience_s
            while self._alive() and time.monotonic() < deadline:
                time.sleep(0.02)
        if left := [child.pid for child in self._alive()]:
            log.error("processes %s did not end", left)
        remove_segments(segments, self._domain_id)

    def _alive(self) -> list[subprocess.Popen[bytes]]:
        return [child for child in self._children.values() if child.poll() is None]

    def _log_path(self, executable: str) -> Path:
        return self._log_dir / f"{executable}.log"

    def _spawn(self, process: Process) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", process.module]
        command.append("--ros-args")
        if namespace := namespace_of(self._values):
            command += ["-r", f"__ns:={namespace}"]
        for name, value in ros_parameters(process, self._values).items():
            command += ["-p", f"{name}:={json.dumps(value)}"]  # YAML that keeps text text
        with self._log_path(process.executable).open("wb") as output:
            return subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone: we decide the order of ends
                preexec_fn=_end_with_parent,  # noqa: PLW1509 -- spawned before this process has threads
            )


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, indented."""
    try:
        text = path.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return "  | (no output)"
    return "\n".join(f"  | {line}" for line in text) or "  | (no output)"
