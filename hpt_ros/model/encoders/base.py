"""What image encoders have in common: views in the order of the embodiment, all of them in one call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpt_ros.configuration import to_mapping
from hpt_ros.embodiment import Camera
from hpt_ros.errors import DataError
from hpt_ros.model.batch import Batch, Features
from hpt_ros.model.config import EncoderConfig
from hpt_ros.model.pretrained import WeightSource
from hpt_ros.model.weights import content_hash


class ImageEncoder(nn.Module, ABC):
    """Batch with images of T samples and M cameras -> features (N, T, M, P, feature_dim), P tokens a view.

    A view that `batch.present` marks as missing is hidden. Where views differ in P, the shorter ones are padded, and the
    padding is hidden.

    Attributes:
        config: with the hash of the weights and the sizes that their folder gives: all that it takes to build the
            network again.
        source: the weights that were read; None when there were none.
    """

    feature_dim: int
    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig, cameras: tuple[Camera, ...], mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.config = config
        self.source: WeightSource | None = None
        self.sizes_px = {camera.name: camera.size_px for camera in cameras}
        self.cameras = tuple(self.sizes_px)
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def frames(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Frames by camera, uint8 RGB (B, H, W, 3), B of each camera's own -> features (B, P, feature_dim).

        Only the cameras that are given are computed, all in as few calls of the network as possible.

        Raises:
            DataError: naming the camera whose frames have another dtype or size than the embodiment's.
        """
        for name, pixels in images.items():
            expected = (*self.sizes_px[name], 3)
            if pixels.dtype != torch.uint8 or pixels.ndim != 4 or tuple(pixels.shape[1:]) != expected:
                raise DataError(
                    f"camera {name}: frames of {pixels.dtype} and shape {tuple(pixels.shape)}; "
                    f"expected torch.uint8 (frames, {', '.join(map(str, expected))})",
                    "give RGB frames in the size_px of the embodiment",
                )
        return self.encoded(images)

    @abstractmethod
    def encoded(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`frames` of checked images."""

    def joined(self, frames: Mapping[str, Tensor], n: int, t: int) -> Features:
        """Features by camera (N * T, P, D), as `frames` gives them -> views in the order of the embodiment."""
        counts = [frames[name].shape[1] for name in self.cameras]
        longest = max(counts)
        padded = [F.pad(frames[name], (0, 0, 0, longest - frames[name].shape[1])) for name in self.cameras]
        views = torch.stack([view.reshape(n, t, *view.shape[1:]) for view in padded], dim=2)
        if min(counts) == longest:
            return Features(views)
        real = torch.arange(longest, device=views.device) < torch.tensor(counts, device=views.device)[:, None]
        return Features(views, real.expand(n, t, -1, -1))

    def forward(self, batch: Batch) -> Features:
        missing = [name for name in self.cameras if name not in batch.images]
        if missing:
            raise DataError(
                f"no images of camera {', '.join(missing)}; the batch has {', '.join(batch.images) or 'none'}",
                "give every camera of the embodiment, and mark those that are missing in `present`",
            )
        n, t = batch.images[self.cameras[0]].shape[:2]
        frames = self.frames({name: batch.images[name].flatten(0, 1) for name in self.cameras})
        views, real = self.joined(frames, n, t)
        present = batch.present_views(self.cameras)
        if present is None:
            return Features(views, real)
        here = present[:, None].expand(-1, t, -1)
        return Features(views, here if real is None else real & here[..., None])

    def content(self) -> str:
        """16 hex digits that say which features this network gives: a key for features that are kept."""
        tensors = {**self.state_dict(), "mean": self.mean, "std": self.std}
        described = to_mapping(self.config) | {"weights": "", "sha256": "", "trainable": None}
        return content_hash([(f"{described} {name}", tensor) for name, tensor in tensors.items()])
