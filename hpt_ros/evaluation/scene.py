"""The start that is to be restored: the picture of the first trial of a block, laid over what the cameras see now."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import DataError

Image = NDArray[np.uint8]
_HEIGHT_PX = 360
_CAPTION_PX = 26
_REFRESH_S = 1
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{refresh_s}"><title>{title}</title>
<style>body {{ font: 16px system-ui, sans-serif; margin: 1em; background: #222; color: #eee }} img {{ max-width: 100% }}</style>
</head><body><p>{title}</p><img alt="reference, camera, overlay" src="{picture}"></body></html>
"""


def overlay(reference: Image, current: Image) -> Image:
    """Half of each (H, W, 3) RGB, with the reference's edges in green and the current ones in red: alike where they meet in yellow."""
    if reference.shape != current.shape:
        reference = cv2.resize(reference, (current.shape[1], current.shape[0]), interpolation=cv2.INTER_AREA)
    mixed: Image = cv2.addWeighted(reference, 0.5, current, 0.5, 0.0)
    for image, channel in ((current, 0), (reference, 1)):
        edges = [cv2.Canny(np.ascontiguousarray(image[..., c]), 60, 150) for c in range(3)]  # a red cube on grey is one
        mixed[np.any(edges, axis=0), channel] = 255
    return mixed


def difference(reference: Image, current: Image) -> float:
    """Mean absolute difference of the colour values [0..255], after both are made as small as 64 x 64."""
    small = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA) for image in (reference, current)]
    return float(np.abs(small[0].astype(float) - small[1].astype(float)).mean())


def scene_picture(references: Mapping[str, Image], current: Mapping[str, Image]) -> Image:
    """A row for each camera: reference, now, both. Without a reference only what is seen now."""
    rows = []
    for name, image in current.items():
        views = [("now", image)]
        if name in references:
            reference = references[name]
            both = f"both: differ by {difference(reference, image):.1f}"
            views = [("restore this", reference), *views, (both, overlay(reference, image))]
        rows.append(np.hstack([_captioned(view, f"{name}: {caption}") for caption, view in views]))
    width = max(row.shape[1] for row in rows)
    picture: Image = np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    return picture


def _captioned(image: Image, text: str) -> Image:
    width = max(1, round(image.shape[1] * _HEIGHT_PX / image.shape[0]))
    canvas = np.zeros((_HEIGHT_PX + _CAPTION_PX, width, 3), np.uint8)
    canvas[_CAPTION_PX:] = cv2.resize(image, (width, _HEIGHT_PX), interpolation=cv2.INTER_NEAREST)
    cv2.putText(canvas, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def write_image(path: Path, image: Image) -> None:
    """A PNG of RGB pixels; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"{path}: the image {image.shape} cannot be written as PNG")
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data.tobytes())
    temporary.replace(path)


def write_page(path: Path, picture: Path, title: str) -> None:
    """A page beside the picture that shows the newest one, second by second, in any browser."""
    temporary = path.with_suffix(".new")
    temporary.write_text(_PAGE.format(refresh_s=_REFRESH_S, title=escape(title), picture=picture.name))
    temporary.replace(path)


class References:
    """Pictures of the starts by block: `<folder>/<block>_<camera>.png`.

    Args:
        folder: of this evaluation; a block's first trial writes them.
        given: folder of an earlier evaluation, or one picture for all blocks and cameras; None: no references from outside.

    Raises:
        DataError: `given` holds no picture that can be read.
    """

    def __init__(self, folder: Path, given: Path | None = None) -> None:
        self._folder, self._given = folder, given
        self._single: Image | None = None
        if given is not None and not given.is_dir():
            self._single = _read(given)
        elif given is not None and not list(given.glob("*.png")):
            raise DataError(f"{given}: no PNG there", "give an image, or the folder `scenes` of an earlier evaluation")

    def of(self, block: int, cameras: tuple[str, ...]) -> dict[str, Image]:
        """References by camera; those that do not exist are left out."""
        if self._single is not None:
            return dict.fromkeys(cameras, self._single)
        folders = [self._folder] if self._given is None else [self._given, self._folder]
        paths = {c: [f / f"{block:04d}_{c}.png" for f in folders] for c in cameras}
        return {c: _read(next(p for p in ps if p.exists())) for c, ps in paths.items() if any(p.exists() for p in ps)}

    def keep(self, block: int, images: Mapping[str, Image]) -> None:
        """The block's start, unless it has one already."""
        for name, image in images.items():
            path = self._folder / f"{block:04d}_{name}.png"
            if not path.exists():
                write_image(path, image)


def _read(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path}: no image that can be read", "give a PNG or JPEG file")
    result: Image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return result
