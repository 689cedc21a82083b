"""Fine-tuning steps on cached features next to the published loop, and the computation of the features next to one view at a time."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.benchmarks.finetune_gpu import on_gpu
from hpt_ros.benchmarks.finetune_scene import SEED, RandomDemos, Scene
from hpt_ros.benchmarks.policy_scene import HORIZON, checkpoint
from hpt_ros.benchmarks.registry import Say
from hpt_ros.benchmarks.report import BenchReport, Goal
from hpt_ros.heap import keep_all_blocks
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.encoders.images import to_network
from hpt_ros.training.config import AugmentationConfig, Precision
from hpt_ros.training.features import cached_features, image_hash

FASTER_FP32, FASTER_BF16, FASTER_FEATURES, SAME_LOSS = 2.0, 3.0, 2.0, 1e-4
STEPS, QUICK_STEPS, BATCH, QUICK_BATCH = 4, 2, 256, 64
FRAMES = 768
IMITATED_BATCH = 16
NOTES = (
    "on a busy machine read the ratio in processor time, the published loop's loading worker included",
    "features are random numbers and weights are random: no figure says anything about how good a policy is",
    "stems and head are trained, encoder and trunk are frozen (the paper's regime); `full` trains the trunk as well",
    "the first step of each side is not counted; both sides have the same weights, batches, optimiser and threads, no dropout",
)


def run(quick: bool, say: Say) -> BenchReport:
    """Sides run one after another, as each needs both cores and the memory."""
    steps, batch = (QUICK_STEPS, QUICK_BATCH) if quick else (STEPS, BATCH)
    settings = {"batch_size": batch, "trunk": "base", "cameras": 2, "horizon": HORIZON, "steps": steps, "quick": quick}
    report = BenchReport("finetune", settings, [])
    with tempfile.TemporaryDirectory() as made:
        _features(Path(made), FRAMES // 8 if quick else FRAMES, report, say)
        _steps(Path(made), steps, batch, report, say, bf16=not quick, full=not quick)
        if torch.cuda.is_available():
            on_gpu(Path(made) / "gpu", batch, quick, report, say)
    report.notes.extend(NOTES)
    if not _has_bf16():
        report.notes.append(
            f"this processor has no bfloat16 arithmetic: torch imitates it, many times slower than fp32; bf16 was measured with batches of {IMITATED_BATCH} and compared by samples/s, and its goal cannot be reached here"
        )
    return report


def _features(folder: Path, frames: int, report: BenchReport, say: Say) -> None:
    """Frames/s of the cache, images read and features written, against one view at a time."""
    say(f"features of {frames} frames a camera, ResNet-18")
    policy = checkpoint("base").policy
    encoder = policy.encoder("image")
    assert isinstance(encoder, ImageEncoder)
    rng = np.random.default_rng(SEED)
    images = {c.name: rng.integers(0, 256, (frames, *c.size_px, 3), np.uint8) for c in policy.embodiment.cameras}
    demos = RandomDemos(folder, policy.embodiment, (), *(np.zeros((frames, 1), np.float32),) * 2, images, {})
    (folder / "images").mkdir()
    np.save(folder / "images" / "noise.npy", rng.integers(0, 256, 64, np.uint8))
    with torch.no_grad():
        _one_by_one(encoder, images, 4)  # threads, kernels
        one_s = _seconds(lambda: _one_by_one(encoder, images, frames))
        hashes = {folder: image_hash(folder)}
        cached_s = _seconds(lambda: cached_features([demos], encoder, AugmentationConfig(), images=hashes, seed=SEED))
    rates = {"one view at a time": 2 * frames / one_s, "cache": 2 * frames / cached_s}
    report.rows.extend({"what": f"features, {name}", "frames/s": round(rate, 1)} for name, rate in rates.items())
    ratio = rates["cache"] / rates["one view at a time"]
    report.ratios["features: cache over one view at a time"] = ratio
    report.goals.append(Goal("features: times faster than one view at a time", round(ratio, 2), FASTER_FEATURES, False))


def _one_by_one(encoder: Any, images: dict[str, NDArray[np.uint8]], frames: int) -> None:
    """As the published code: a view a call, batch norm as it is, torch's default memory layout."""
    for i in range(frames):
        for pixels in images.values():
            view = to_network(torch.from_numpy(pixels[i : i + 1]), encoder.mean, encoder.std)
            encoder.net(view.contiguous())


def _steps(folder: Path, steps: int, batch: int, report: BenchReport, say: Say, *, bf16: bool, full: bool) -> None:
    scene = Scene(folder / "steps", batch)
    kinds: list[tuple[str, Precision, bool]] = [("fp32", "fp32", True)]
    kinds += [("fp32, full", "fp32", False)] if full else []
    kinds += [("bf16", "bf16", True)] if bf16 else []
    published: dict[bool, _Timed] = {}
    for frozen in dict.fromkeys(frozen for _, _, frozen in kinds):
        say(f"published loop, {'trunk frozen' if frozen else 'trunk trained'}")
        published[frozen] = _timed(scene.published(frozen, steps + 1))
        report.rows.append(_row(f"published{'' if frozen else ', full'}", published[frozen], batch))
    keep_all_blocks()  # as `hpt-ros finetune` does; from here on, so that the published loop has malloc as it comes
    for name, precision, frozen in kinds:
        say(f"this package, {name}")
        imitated = precision == "bf16" and not _has_bf16()
        size, count = (min(batch, IMITATED_BATCH), 2) if imitated else (batch, steps + 1)
        theirs, found = published[frozen], _timed(scene.ours(frozen, precision, count, size))
        report.rows.append(_row(name, found, size))
        ratio = theirs.step_s / found.step_s * size / batch
        report.ratios[f"step {name}: published over this package"] = ratio
        report.ratios[f"step {name}: the same in processor time"] = theirs.cpu_s / found.cpu_s * size / batch
        if frozen and batch == BATCH:
            goal = FASTER_FP32 if precision == "fp32" else FASTER_BF16
            report.goals.append(Goal(f"step {name}: times faster than published", round(ratio, 2), goal, False))
        if precision == "fp32":
            apart = max(abs(a - b) for a, b in zip(found.losses, theirs.losses, strict=True))
            report.goals.append(Goal(f"losses {name}: largest difference", apart, SAME_LOSS))


def _has_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _row(what: str, timed: _Timed, batch: int) -> dict[str, Any]:
    return {
        "what": what,
        "s/step": round(timed.step_s, 3),
        "processor s/step": round(timed.cpu_s, 3),
        "samples/s": round(batch / timed.step_s, 1),
        "last loss": timed.losses[-1],
    }


class _Timed(NamedTuple):
    """Medians over the steps after the first: seconds, and seconds of processor time with loading workers; and all losses."""

    step_s: float
    cpu_s: float
    losses: list[float]


def _timed(losses: Iterator[float]) -> _Timed:
    workers_s = _children_s()
    found = list(islice(losses, 1))
    seconds = []
    began = time.perf_counter(), time.process_time()
    for loss in losses:
        found.append(loss)
        now = time.perf_counter(), time.process_time()
        seconds.append([after - before for after, before in zip(now, began, strict=True)])
        began = time.perf_counter(), time.process_time()
    step_s, cpu_s = np.median(seconds, axis=0)
    workers_s = (_children_s() - workers_s) / len(found)
    return _Timed(float(step_s), float(cpu_s) + workers_s, found)


def _children_s() -> float:
    """Processor time of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
