"""What Linux says of a machine and of one process at a time: load, stolen time, page faults from disk, involuntary switches."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Strain:
    """At `at_s` (Unix time): the load of the last minute, and counts since the start: processor time [s] that the host took
    away from the machine, and of all threads of the process its major page faults and involuntary context switches.
    """

    at_s: float
    load: float
    stolen_s: float
    major_faults: int
    switches: int

    @classmethod
    def now(cls, pid: int) -> Strain:
        """Read it. Source: proc(5)."""
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        stolen = int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")
        return cls(time.time(), os.getloadavg()[0], stolen, int(fields[9]), _switches(pid))

    def since(self, before: Strain) -> dict[str, float]:
        """The load, and what came to the counts."""
        return {
            "load": round(self.load, 2),
            "stolen_ms": round(1e3 * (self.stolen_s - before.stolen_s)),
            "major_faults": self.major_faults - before.major_faults,
            "involuntary_switches": self.switches - before.switches,
        }


def _switches(pid: int) -> int:
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError, StopIteration):  # a thread that has just ended
            lines = (task / "status").read_text().splitlines()
            found += int(next(line for line in lines if line.startswith("nonvoluntary_ctxt")).split()[1])
    return found
