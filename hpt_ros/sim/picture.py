"""A picture of the scene for people: the wide view with shadows, beside what the robot's cameras see."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError
from hpt_ros.sim.cameras import Image, Renderer
from hpt_ros.sim.offline import OfflineScene
from hpt_ros.sim.scene import PICTURE_CAMERA, load_picture_model

_HEIGHT_PX, _WIDTH_PX = 720, 1000
_MOMENT = 0.8  # of the expert's demonstration


def draw_picture(path: Path, task: str, seed: int, embodiment: Embodiment) -> None:
    """Write an image file of the expert at work on `task`: wide view on the left, every camera stacked on the right.

    Raises:
        MissingDependencyError: the system lacks the graphics library.
        DataError: the file cannot be written.
    """
    with OfflineScene(task, embodiment, images=False) as scene:
        frames = [scene.world.snapshot() for _ in scene.run_expert(seed)]
    moment = frames[int(_MOMENT * (len(frames) - 1))]
    model = load_picture_model()
    names = [camera.name for camera in embodiment.cameras]

    def view(cameras: list[str], size_px: tuple[int, int]) -> list[Image]:
        renderer = Renderer(model, size_px)
        try:
            return list(renderer.render(moment, cameras).values())
        finally:
            renderer.close()

    wide = view([PICTURE_CAMERA], (_HEIGHT_PX, _WIDTH_PX))
    small = _HEIGHT_PX // max(len(names), 1)
    picture = np.hstack([*wide, *([np.vstack(_fill(view(names, (small, small))))] if names else [])])
    if not _write(path, picture):
        raise DataError(f"cannot write {path}", "give a path that ends in .png or .jpg, in a folder that exists")


def _fill(images: list[Image]) -> list[Image]:
    """The images with the last one's lower edge repeated down to the full height."""
    missing = _HEIGHT_PX - sum(image.shape[0] for image in images)
    return [*images[:-1], np.pad(images[-1], ((0, missing), (0, 0), (0, 0)), mode="edge")]


def _write(path: Path, image: Image) -> bool:
    try:
        return bool(cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)))
    except cv2.error:
        return False
