"""Demonstration sets and LeRobot datasets for the tests of export and import."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import synthetic

from hpt_ros.demos import Demos, convert
from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to


def demos_of(root: Path, robot: Embodiment, seconds: tuple[float, ...] = (0.6, 0.8, 0.5)) -> Demos:
    """A set with an episode per duration; two of one task, the others of another."""
    for number, duration in enumerate(seconds):
        task = "reach" if number < 2 else "push"
        score = 0.5 if number == 1 else 1.0
        messages = synthetic.taken_over(synthetic.messages(robot, duration), 300, 400)
        synthetic.record(root / "bags", robot, messages, score, task)
    convert([root / "bags"], None, root / "demos")
    return Demos.open(root / "demos")


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    """Edit a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def video_robot() -> Embodiment:
    """Cameras of a size that AV1 can encode."""
    data = embodiment_to(synthetic.embodiment())
    for camera in data["cameras"]:
        camera["size_px"] = [64, 96]
    return embodiment_from(data)


def gradients(frames: np.ndarray) -> np.ndarray:
    """As many frames of what a codec keeps; neighbours differ by 10 in every pixel."""
    _, height, width, _ = frames.shape
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 90 / width, y * 90 / height, (x + y) * 90 / (width + height)], axis=-1)
    return np.stack([base + 30 + 10 * (i % 12) for i in range(len(frames))]).astype(np.uint8)


def assert_looks_like(found: np.ndarray, frames: np.ndarray) -> None:
    """The same frames in the same order, to within what a codec loses."""
    error = np.abs(found.astype(int) - frames.astype(int))
    assert error.mean(axis=(1, 2, 3)).max() < 4
