"""Features of frames that were seen before are not computed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Encode = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Frames by camera, (B, H, W, 3) with B of each camera's own -> features by camera, (B, P, D)."""


class _Frame(NamedTuple):
    pixels: bytes
    features: Tensor


class FrameCache:
    """Encodes the frames of an observation that the previous one did not have, all cameras in one call.

    A frame is known by its bytes, camera by camera, never by its time or place in the history: repeated, reordered and
    dropped frames give what encoding all of them gives. Not for several threads.
    """

    def __init__(self, encode: Encode, device: torch.device) -> None:
        self._encode, self._device = encode, device
        self._known: dict[str, list[_Frame]] = {}
        self.encoded = self.reused = 0

    def features(self, images: Mapping[str, NDArray[np.generic]]) -> dict[str, Tensor]:
        """Features (T, P, D) by camera of images (T, H, W, ...)."""
        pixels = {camera: [frame.tobytes() for frame in frames] for camera, frames in images.items()}
        seen = {camera: {f.pixels: f.features for f in self._known.get(camera, ())} for camera in images}
        new = {camera: _first_of_each(pixels[camera], seen[camera]) for camera in images}
        given = {
            camera: torch.from_numpy(images[camera][places]).to(self._device)
            for camera, places in new.items()
            if places
        }
        for camera, made in (self._encode(given) if given else {}).items():
            seen[camera] |= {pixels[camera][place]: f for place, f in zip(new[camera], made, strict=True)}
        self._known = {camera: [_Frame(p, seen[camera][p]) for p in pixels[camera]] for camera in images}
        computed = sum(map(len, new.values()))
        self.encoded += computed
        self.reused += sum(map(len, pixels.values())) - computed
        return {camera: torch.stack([f.features for f in frames]) for camera, frames in self._known.items()}

    def clear(self) -> None:
        """Know no frame."""
        self._known = {}


def _first_of_each(pixels: list[bytes], seen: Mapping[bytes, Tensor]) -> list[int]:
    """Where the frames are that have to be encoded, each once."""
    places = {frame: place for place, frame in reversed(list(enumerate(pixels))) if frame not in seen}
    return sorted(places.values())
