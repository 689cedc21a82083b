"""Random windows for training, out of each form of a demonstration set, against one image file per frame."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.benchmarks.convert_load import embodiment, record
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, percentiles_ms
from hpt_ros.demos import Demos, convert
from hpt_ros.demos import lerobot_format as v3
from hpt_ros.demos.lerobot_export import export
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.training.windows import Windows, all_episodes

BATCH, HORIZON = 256, 2
FULL, QUICK = (60.0, 12), (12.0, 4)  # seconds of recording, batches
_LEROBOT_SHARE = 8  # its batches are so many times smaller, and counted so
BASELINE = "a PNG per frame"
NOTES = (
    "a sample: state, two cameras of two frames 224 x 224, action chunk; read in random order in one process, files in memory (page cache)",
    f"{BASELINE}: at policy size, read by OpenCV; state and actions from memory",
    "jpeg files: 640 x 480 as the camera sent them, decoded, cropped and resized at each reading; decoded once: the cache that training uses",
    "lerobot: from an export with images; 0.4.4 decodes the images of all rows of an action chunk, hence the row without one",
)

Read = Callable[[NDArray[np.int64]], Any]


def run(quick: bool, say: Say) -> BenchReport:
    """Record, convert, read."""
    seconds, batches = QUICK if quick else FULL
    settings = {"seconds": seconds, "batches": batches, "batch": BATCH, "observation_horizon": HORIZON, "quick": quick}
    report = BenchReport("batches", settings, [], notes=list(NOTES))
    with tempfile.TemporaryDirectory(prefix=".bench_batches_", dir=Path.cwd()) as folder:
        sets = {
            transport: _set(Path(folder) / transport, transport, seconds, say) for transport in ("compressed", "raw")
        }
        began_s = time.perf_counter()
        decoded = sets["compressed"].decoded()
        fill_s = time.perf_counter() - began_s
        say("one file per frame")
        readers: dict[str, tuple[Read, int]] = {
            "pixels of raw cameras": (_windows(sets["raw"]), 1),
            "jpeg files": (_windows(sets["compressed"]), 1),
            "jpeg files, decoded once": (_windows(decoded), 1),
            BASELINE: (_png_reader(decoded, Path(folder) / "png"), 1),
        }
        if find_spec("lerobot") is not None:
            say("lerobot")
            export(decoded, Path(folder) / "lerobot")
            readers["lerobot"] = (_lerobot(decoded, Path(folder) / "lerobot", chunk=True), _LEROBOT_SHARE)
            readers["lerobot, one action"] = (_lerobot(decoded, Path(folder) / "lerobot", chunk=False), 1)
        for what, (read, share) in readers.items():
            say(what)
            report.rows.append({"what": what, **_measure(read, len(decoded), batches, BATCH // share)})
        report.rows[2]["fill_s"] = round(fill_s, 2)
    rates = {row["what"]: row["samples_per_s"] for row in report.rows}
    for other in (BASELINE, *(name for name in rates if name.startswith("lerobot"))):
        for what in ("pixels of raw cameras", "jpeg files", "jpeg files, decoded once"):
            report.ratios[f"{what} / {other}, samples/s"] = rates[what] / rates[other]
    return report


def _set(folder: Path, transport: str, seconds: float, say: Say) -> Demos:
    say(f"{transport}: recording and converting {seconds:g} s")
    robot = embodiment(transport)
    robot = replace(robot, policy=replace(robot.policy, observation_horizon=HORIZON))
    (bag,) = record(folder / "bags", robot, seconds, 1)
    convert([bag], None, folder / "demos", ConvertSettings(keep_idle=True))
    return Demos.open(folder / "demos")


def _windows(demos: Demos) -> Read:
    windows = Windows(all_episodes([demos]))
    return windows.batch


def _png_reader(demos: Demos, folder: Path) -> Read:
    folder.mkdir()
    for name, frames in demos.images.items():
        for i, frame in enumerate(frames):
            cv2.imwrite(f"{folder}/{name}-{i}.png", frame)

    def read(ticks: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        past = np.maximum(ticks[:, None] - np.arange(HORIZON)[::-1], 0)
        actions = np.minimum(ticks[:, None] + 1 + np.arange(demos.embodiment.policy.action_horizon), len(demos) - 1)
        images = [
            np.stack([cv2.imread(f"{folder}/{name}-{i}.png") for i in past.reshape(-1)])  # type: ignore[misc]
            for name in demos.images
        ]
        return [demos.state[past], demos.command[actions], *images]  # type: ignore[list-item]

    return read


def _lerobot(demos: Demos, root: Path, chunk: bool) -> Read:
    """The same windows by the `lerobot` package from an export with images; without `chunk` one action each."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found, unused-ignore]

    policy = demos.embodiment.policy
    past = [-k / policy.rate_hz for k in reversed(range(HORIZON))]
    wanted = {v3.STATE: past}
    if chunk:
        wanted[v3.ACTION] = [k / policy.rate_hz for k in range(policy.action_horizon)]
    wanted |= {v3.image_key(name): past for name in demos.images}
    dataset = LeRobotDataset("local/demos", root=root, delta_timestamps=wanted)
    return lambda ticks: [dataset[int(i)] for i in ticks]


def _measure(read: Read, ticks: int, batches: int, size: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    read(rng.integers(0, ticks, size))  # maps, caches, imports
    took_s = []
    for _ in range(batches):
        chosen = rng.integers(0, ticks, size)
        began_s = time.perf_counter()
        read(chosen)
        took_s.append(time.perf_counter() - began_s)
    marks = percentiles_ms(took_s)
    return {
        "samples_per_s": round(size * batches / sum(took_s), 1),
        "batch": size,
        "p50_ms": marks["p50_ms"],
        "p99_ms": marks["p99_ms"],
    }
