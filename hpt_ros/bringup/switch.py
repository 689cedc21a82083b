"""One policy process at a time, exchanged between trials. Run as a module it is the process that watches over it.

It is a process of its own because the evaluation has threads when it exchanges policies, and because its end of a pipe
closes however the evaluation ends: then no policy drives the arm any more.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hpt_ros.bringup.layout import POLICY_ALONE
from hpt_ros.bringup.supervisor import ChildDiedError, Supervisor, tail
from hpt_ros.errors import HptRosError

POLICY_MODULE = POLICY_ALONE.processes[0].module
_WATCH_PERIOD_S = 0.2
_EXCHANGE_S = 15.0  # a policy that is told to end gets 4 s


class PolicySwitch:
    """Runs the policy of one checkpoint; a context manager. Enter it before the process has threads.

    Args:
        arguments: of the layout `policy` without the checkpoint.
        domain_id: ROS domain.
        module: runs the policy node; another than the package's own for policies of another kind.
    """

    def __init__(
        self,
        arguments: Mapping[str, str],
        domain_id: int,
        log_dir: Path,
        module: str = POLICY_MODULE,
    ) -> None:
        facts = {"domain_id": domain_id, "log_dir": str(log_dir), "module": module}
        self._settings = {"arguments": dict(arguments), **facts}
        self._log = log_dir / "policy_switch.log"

    def __enter__(self) -> PolicySwitch:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "hpt_ros.bringup.switch", json.dumps(self._settings)]
        with self._log.open("wb") as errors:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(timeout=_EXCHANGE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def to(self, checkpoint: Path) -> None:
        """End the running policy and start that of `checkpoint`; returns when the old one is gone.

        Raises:
            ChildDiedError: it could not be started.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(str(checkpoint)).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            self.check()
        if select.select([self._child.stdout], [], [], _EXCHANGE_S)[0]:
            self._child.stdout.readline()
        self.check()

    def check(self) -> None:
        """Raise if the policy has ended.

        Raises:
            ChildDiedError: with its last words.
        """
        if (code := self._child.poll()) is not None:
            raise ChildDiedError(
                f"the policy ended (code {code}):\n{tail(self._log)}", f"the whole log is in {self._log.parent}"
            )


def main(settings: Mapping[str, object]) -> int:
    """Follow the lines of standard input, each a checkpoint, until it closes or the policy ends."""
    running: Supervisor | None = None
    arguments: Mapping[str, str] = settings["arguments"]  # type: ignore[assignment]
    node = replace(POLICY_ALONE.processes[0], module=str(settings["module"]))
    layout = replace(POLICY_ALONE, processes=(node,))
    try:
        while True:
            if select.select([sys.stdin], [], [], _WATCH_PERIOD_S)[0]:
                if not (line := sys.stdin.readline()):
                    return 0
                if running:
                    running.stop()
                values = {**arguments, "checkpoint": json.loads(line)}
                running = Supervisor(layout, values, int(str(settings["domain_id"])), Path(str(settings["log_dir"])))
                running.__enter__()
                sys.stdout.write("started\n")
                sys.stdout.flush()
            elif running:
                running.check()
    except HptRosError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    finally:
        if running:
            running.stop()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
