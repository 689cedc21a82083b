"""Compute what a frozen encoder gives for every frame of demonstration sets."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.serving import fast_encoder
from hpt_ros.training.augmentation import Changes, changed, draw
from hpt_ros.training.config import AugmentationConfig
from hpt_ros.training.features.key import cache_facts, folder_name
from hpt_ros.training.features.reader import CachedFeatures
from hpt_ros.training.features.room import require_memory, require_room
from hpt_ros.training.features.store import FeatureStore, Layout
from hpt_ros.training.windows import DemosLike

log = logging.getLogger(__name__)
FOLDER = "features"
FRAMES = 16
"""Of all views together that go through the encoder at once; on CPUs more are slower, as they leave the caches."""
DTYPE = "<f4"

Said = Callable[[int, int], None]
"""Frames done, and all."""


@torch.no_grad()
def cached_features(
    sets: Sequence[DemosLike],
    encoder: ImageEncoder,
    augmentation: AugmentationConfig,
    *,
    images: Mapping[Path, str],
    seed: int,
    said: Said = lambda done, total: None,
    workers: int = 0,
) -> CachedFeatures:
    """Features of all sets, whose `image_hash` is in `images`, from caches below each set's folder where those are valid, else computed now.

    What was computed before an interruption is kept. On a CPU each of `workers` threads (0: one a core) encodes its own
    block; memory does not grow with the data.

    Raises:
        DataError: too little room on the disk or in memory, said before anything is computed; or a folder that cannot
            be written.
    """
    device = next(encoder.parameters()).device
    workers = workers or (1 if device.type == "cuda" else len(os.sched_getaffinity(0)))
    probe = encoder.joined(encoder.frames(_black(encoder, device)), 1, 1)
    keep = None if probe.keep is None else probe.keep[0, 0].cpu()
    shape = probe.values[0, 0].shape
    stores = {d.path: _stores(d, images[d.path], encoder, augmentation, seed, shape) for d in sets}
    require_room([(s.folder, s.layout.bytes, _held(s)) for found in stores.values() for _, s in found])
    require_memory(encoder, workers, FRAMES)
    total = sum(s.layout.shape[0] for found in stores.values() for _, s in found) * len(encoder.cameras)
    progress = _Progress(total, said)
    with _threads(workers, device), _full_precision():
        fast = _checked(encoder)
        for demos in sets:
            for changes, store in stores[demos.path]:
                _complete(store, demos, fast, changes, workers, progress)
    paths = {path: [s.folder / "features.npy" for _, s in found] for path, found in stores.items()}
    return CachedFeatures(paths, keep)


class _Progress:
    def __init__(self, total: int, said: Said) -> None:
        self._done, self._total, self._said = 0, total, said

    def add(self, frames: int) -> None:
        self._done += frames
        self._said(self._done, self._total)


def _stores(
    demos: DemosLike,
    images: str,
    encoder: ImageEncoder,
    augmentation: AugmentationConfig,
    seed: int,
    shape: Sequence[int],
) -> list[tuple[Changes | None, FeatureStore]]:
    """The plain copy and the changed ones, with the change of every row."""
    found: list[tuple[Changes | None, FeatureStore]] = []
    for copy in range(augmentation.copies + 1):
        used = augmentation if copy else None
        facts = cache_facts(demos, images, encoder, used, seed, copy)
        layout = Layout((len(demos.state), *shape), DTYPE)  # type: ignore[arg-type]
        store = FeatureStore(demos.path / FOLDER / folder_name(facts), facts, layout)
        found.append((_changes(demos, augmentation, seed, copy) if copy else None, store))
    return found


def _changes(demos: DemosLike, augmentation: AugmentationConfig, seed: int, copy: int) -> Changes:
    """One draw for all frames of an episode: a window's history moves as one."""
    episode_of = np.zeros(len(demos.state), np.int64)
    for i, episode in enumerate(demos.episodes):
        episode_of[episode.start : episode.stop] = i
    return draw(augmentation, (seed, copy), len(demos.episodes))[episode_of]


def _complete(
    store: FeatureStore,
    demos: DemosLike,
    encoder: ImageEncoder,
    changes: Changes | None,
    workers: int,
    progress: _Progress,
) -> None:
    with store:
        missing = store.missing
        views = len(encoder.cameras)
        progress.add((store.layout.shape[0] - sum(_length(store.layout.rows(b)) for b in missing)) * views)
        if not missing:
            return
        log.info("%s: computing %d of %d blocks", store.folder, len(missing), store.layout.blocks)
        left, jobs = iter(missing), deque[tuple[int, Future[NDArray[Any]]]]()
        with ThreadPoolExecutor(workers) as pool:

            def begin(count: int) -> None:
                for block in islice(left, count):
                    jobs.append((block, pool.submit(_block, demos, encoder, changes, store.layout.rows(block))))

            begin(2 * workers)  # a few at a time: memory stays bounded
            while jobs:
                block, job = jobs.popleft()
                store.write(block, job.result().astype(store.layout.dtype, copy=False))
                progress.add(_length(store.layout.rows(block)) * views)
                begin(1)


@torch.no_grad()
def _block(demos: DemosLike, encoder: ImageEncoder, changes: Changes | None, rows: slice) -> NDArray[Any]:
    """Features (rows, M, P, D)."""
    step = _ticks(encoder)
    parts = []
    for start in range(rows.start, rows.stop, step):
        ticks = np.arange(start, min(start + step, rows.stop))
        pixels = {name: _frames(demos, encoder, name, ticks, changes) for name in encoder.cameras}
        parts.append(encoder.joined(encoder.frames(pixels), len(ticks), 1).values[:, 0].cpu().numpy())
    return np.concatenate(parts)


def _frames(
    demos: DemosLike, encoder: ImageEncoder, camera: str, ticks: NDArray[np.int64], changes: Changes | None
) -> Tensor:
    frames = torch.from_numpy(np.ascontiguousarray(demos.images[camera][ticks]))
    if changes is not None:
        frames = changed(frames, changes[ticks])
    return frames.to(next(encoder.parameters()).device)


def _checked(encoder: ImageEncoder) -> ImageEncoder:
    """The encoder with its batch norm folded and weights laid out, unless that disagrees with the plain one here."""
    device = next(encoder.parameters()).device
    if device.type == "cuda":
        return encoder
    rng = np.random.default_rng(0)
    noise = {
        name: torch.from_numpy(rng.integers(0, 256, (_ticks(encoder), *size, 3), np.uint8)).to(device)
        for name, size in encoder.sizes_px.items()
    }
    fast = fast_encoder(encoder, noise)
    few = {name: frames[:1] for name, frames in noise.items()}
    plain, found = encoder.frames(few), fast.frames(few)
    agree = all(torch.allclose(found[n], plain[n], atol=1e-4 * float(plain[n].abs().max())) for n in plain)
    return fast if agree else encoder


def _ticks(encoder: ImageEncoder) -> int:
    """Whose frames go through the encoder at once."""
    return max(1, FRAMES // len(encoder.cameras))


def _black(encoder: ImageEncoder, device: torch.device) -> dict[str, Tensor]:
    return {n: torch.zeros(1, *size, 3, dtype=torch.uint8, device=device) for n, size in encoder.sizes_px.items()}


def _held(store: FeatureStore) -> int:
    """Bytes that a cache has on the disk already; what was not yet computed is a hole in the file."""
    path: Path = store.folder / "features.npy"
    return path.stat().st_blocks * 512 if path.is_file() else 0


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Features do not depend on the device: cuDNN would round what it multiplies to 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _threads(workers: int, device: torch.device) -> Iterator[None]:
    """Workers that run side by side need one thread of torch each."""
    before = torch.get_num_threads()
    if device.type == "cpu" and workers > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
