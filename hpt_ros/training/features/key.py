"""What cached features depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hpt_ros.configuration import to_mapping
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.encoders.images import PREPROCESSING
from hpt_ros.training.config import AugmentationConfig
from hpt_ros.training.windows import DemosLike

_BLOCK_BYTES = 8 << 20


def image_hash(folder: Path) -> str:
    """16 hex digits over every byte that a demonstration set keeps of its cameras, by name; empty where it keeps none."""
    files = sorted(path for part in ("images", "depth") for path in (folder / part).rglob("*") if path.is_file())
    if not files:
        return ""
    with ThreadPoolExecutor(2) as pool:  # hashing leaves the interpreter's lock
        digests = list(pool.map(_file_hash, files))
    names = [str(path.relative_to(folder)) for path in files]
    return hashlib.sha256(json.dumps([names, digests]).encode()).hexdigest()[:16]


def cache_facts(
    demos: DemosLike,
    images: str,
    encoder: ImageEncoder,
    augmentation: AugmentationConfig | None,
    seed: int,
    copy: int,
) -> dict[str, Any]:
    """Plain data that decides the features: pixels, their way into the network, the network; for a changed copy its draw."""
    facts: dict[str, Any] = {
        "images": images,
        "rows": len(demos.state),
        "cameras": {name: list(size) for name, size in encoder.sizes_px.items()},
        "preprocessing": PREPROCESSING,
        "encoder": encoder.content(),
    }
    if not all(isinstance(demos.images[name], np.ndarray) for name in encoder.cameras):
        facts["decoder"] = f"opencv {cv2.__version__}"
    if augmentation is not None:
        bounds = [[e.start, e.stop] for e in demos.episodes]  # an episode's frames share a draw
        facts["changed"] = {**to_mapping(augmentation), "copies": copy, "seed": seed, "episodes": bounds}
    return facts


def folder_name(facts: Mapping[str, Any]) -> str:
    """The name of the cache with these facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
