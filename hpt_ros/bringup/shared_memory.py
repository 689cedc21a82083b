"""Fast DDS's files in /dev/shm: a process that is killed leaves them behind."""

from __future__ import annotations

import re
from pathlib import Path

_SHM = Path("/dev/shm")
_PORT = re.compile(r"(?:sem\.)?fastdds_port(\d+)")


def mapped_segments(pid: int) -> set[str]:
    """Names of the Fast DDS segments in /dev/shm that a process maps."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return set()
    return {Path(line.split()[-1]).name for line in maps.splitlines() if "/dev/shm/fastdds_" in line}


def remove_segments(segments: set[str], domain_id: int) -> None:
    """Delete those segments and the ports of the domain, unless a living process still maps them."""
    first = 7400 + 250 * domain_id  # DDSI-RTPS 9.6.1.1
    candidates = set()
    for path in _SHM.glob("*fastdds_*"):
        port = _PORT.match(path.name)
        ours = first <= int(port[1]) < first + 250 if port else _segment(path.name) in segments
        if ours:
            candidates.add(path)
    if not candidates:
        return
    in_use = _mapped_by_anyone()
    for path in candidates:
        if _segment(path.name) not in in_use:
            path.unlink(missing_ok=True)


def _segment(name: str) -> str:
    """The segment that a lock file, semaphore or the segment itself belongs to."""
    return name.removeprefix("sem.").removesuffix("_mutex").removesuffix("_el").removesuffix("_sl")


def _mapped_by_anyone() -> set[str]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return {_segment(name) for pid in pids for name in mapped_segments(pid)}
