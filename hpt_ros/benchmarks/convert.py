"""Conversion of four episodes on two cores against the common loop, the disk, and the clock on the wall."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hpt_ros.benchmarks.convert_load import POLICY_HZ, POLICY_PX, embodiment, record
from hpt_ros.benchmarks.convert_reference import convert_naively
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal
from hpt_ros.demos import convert
from hpt_ros.errors import DataError

FULL_S, QUICK_S = 60.0, 10.0
EPISODES, WORKERS = 4, 2
FASTER = {"compressed": 5.0, "raw": 3.0}
REAL_TIME, MEMORY_GOAL_MB = 10.0, 32.0
_BYTES_PER_S = 80e6  # of a raw recording, its frames after conversion included
_SHORT = 4  # the long bag is so many times as long as the short one
NOTES = (
    "the four episodes are one file with four names: after the first reading it comes from memory, for both sides",
    "naive: rosbags, every message decoded and every image resized in one process, aligned afterwards by times of receipt",
    "cpu_s: processor time of all processes; on a machine with other work it compares better than the clock on the wall",
    "this package's set is on the disk when it is done, the common loop's arrays may still be in memory",
    "MB/s count the bytes of the bags, so they compare only within a transport",
    "peak_mb is the largest resident memory of one process that converts one episode",
)


def run(quick: bool, say: Say) -> BenchReport:
    """Record, convert, compare: both transports, in a folder beside the current one's files.

    Raises:
        DataError: too little space in the current folder.
    """
    seconds = QUICK_S if quick else FULL_S
    free, need = shutil.disk_usage(Path.cwd()).free, 3 * seconds * _BYTES_PER_S
    if free < need:
        raise DataError(
            f"{free / 1e9:.1f} GB free in {Path.cwd()}, {need / 1e9:.1f} GB needed", "make room, or --quick"
        )
    settings = {
        "seconds": seconds,
        "episodes": EPISODES,
        "workers": WORKERS,
        "policy_hz": POLICY_HZ,
        "size_px": list(POLICY_PX),
        "quick": quick,
    }
    report = BenchReport("convert", settings, [], notes=list(NOTES))
    for transport in FASTER:
        with tempfile.TemporaryDirectory(prefix=".bench_convert_", dir=Path.cwd()) as folder:
            _measure(Path(folder), transport, seconds, report, say)
    return report


def _measure(folder: Path, transport: str, seconds: float, report: BenchReport, say: Say) -> None:
    robot = embodiment(transport)
    say(f"{transport}: recording {seconds:g} s")
    bags = record(folder / "bags", robot, seconds, EPISODES)
    (short,) = record(folder / "short", robot, seconds / _SHORT, 1)
    megabytes = (bags[0] / "1.mcap").stat().st_size / 1e6
    disk_s = _cold_read_s(bags[0] / "1.mcap")
    say(f"{transport}: the common loop, 1 episode of {megabytes:.0f} MB")
    naive_s, naive_cpu_s = _timed(lambda: convert_naively(bags[0], robot, folder / "naive"))
    say(f"{transport}: {EPISODES} episodes, {WORKERS} workers")
    ours_s, ours_cpu_s = _timed(lambda: convert(bags, robot, folder / "demos", workers=WORKERS))
    peaks_mb = [_peak_mb(bag, folder / f"peak{number}") for number, bag in enumerate((short, bags[0]))]
    rows = {
        "this package": (EPISODES * megabytes, EPISODES * seconds, ours_s, ours_cpu_s),
        "naive": (megabytes, seconds, naive_s, naive_cpu_s),
        "cold read of the disk": (megabytes, seconds, *disk_s),
    }
    for what, figures in rows.items():
        report.rows.append(_row(what, transport, *figures))
    for what, peak_mb in zip(("short bag", "long bag"), peaks_mb, strict=True):
        report.rows.append({"what": what, "transport": transport, "peak_mb": round(peak_mb, 1)})
    ratio = EPISODES * naive_s / ours_s
    report.ratios[f"{transport}: this package / naive, MB/s"] = ratio
    report.ratios[f"{transport}: this package / naive, MB per second of one core"] = EPISODES * naive_cpu_s / ours_cpu_s
    report.goals.extend(_goals(transport, seconds, ours_s, ratio, peaks_mb))


def _goals(transport: str, seconds: float, ours_s: float, ratio: float, peaks_mb: list[float]) -> list[Goal]:
    growth_mb = round(peaks_mb[1] - peaks_mb[0], 1)
    return [
        Goal(f"{transport}: times the MB/s of the naive loop", round(ratio, 2), FASTER[transport], at_most=False),
        Goal(f"{transport}: times real time", round(EPISODES * seconds / ours_s, 1), REAL_TIME, at_most=False),
        Goal(f"{transport}: memory of a bag {_SHORT} times as long, MB more", growth_mb, MEMORY_GOAL_MB),
    ]


def _row(what: str, transport: str, megabytes: float, recorded_s: float, took_s: float, cpu_s: float) -> dict[str, Any]:
    return {
        "what": what,
        "transport": transport,
        "mb": round(megabytes, 1),
        "seconds": round(took_s, 2),
        "cpu_s": round(cpu_s, 2),
        "mb_per_s": round(megabytes / took_s, 1),
        "times_real_time": round(recorded_s / took_s, 1),
    }


def _timed(work: Any) -> tuple[float, float]:
    """Seconds on the wall, and of processors in this process and the workers that it waited for."""
    start_s, start_cpu_s = time.perf_counter(), _cpu_s()
    work()
    return time.perf_counter() - start_s, _cpu_s() - start_cpu_s


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _cold_read_s(path: Path) -> tuple[float, float]:
    """Seconds to read a file from its start to its end, when the kernel has been asked to forget it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        buffer = bytearray(8 << 20)
        return _timed(lambda: _drain(handle, buffer))
    finally:
        os.close(handle)


def _drain(handle: int, buffer: bytearray) -> None:
    while os.readv(handle, [buffer]):
        pass


def _peak_mb(bag: Path, out: Path) -> float:
    command = [sys.executable, "-m", "hpt_ros.benchmarks.convert", str(bag), str(out)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(bag: str, out: str) -> int:
    """Convert one bag in this process and write its largest memory [MB] to standard output."""
    convert([Path(bag)], None, Path(out))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    sys.stdout.write(f"{int(status['VmHWM'].split()[0]) / 1e3}\n")  # ru_maxrss would begin at that of the parent
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
