"""What image encoders have in common: views in the order of the embodiment, all of them in one call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hpt_ros.embodiment import Camera
from hpt_ros.errors import DataError
from hpt_ros.model.batch import Batch, Features


class ImageEncoder(nn.Module, ABC):
    """Batch with images of T samples and M cameras -> features (N, T, M, P, feature_dim), P tokens a view.

    A view that `batch.present` marks as missing is hidden.
    """

    feature_dim: int

    def __init__(self, cameras: tuple[Camera, ...]) -> None:
        super().__init__()
        self.cameras = tuple(camera.name for camera in cameras)

    @abstractmethod
    def frames(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Frames by camera, uint8 RGB (B, H, W, 3), B of each camera's own -> features (B, P, feature_dim).

        Only the cameras that are given are computed, all in as few calls of the network as possible.
        """

    def forward(self, batch: Batch) -> Features:
        missing = [name for name in self.cameras if name not in batch.images]
        if missing:
            raise DataError(
                f"no images of camera {', '.join(missing)}; the batch has {', '.join(batch.images) or 'none'}",
                "give every camera of the embodiment, and mark those that are missing in `present`",
            )
        n, t = batch.images[self.cameras[0]].shape[:2]
        frames = self.frames({name: batch.images[name].flatten(0, 1) for name in self.cameras})
        views = torch.stack([frames[name].reshape(n, t, *frames[name].shape[1:]) for name in self.cameras], dim=2)
        return Features(views, self._keep(batch, n, t))

    def _keep(self, batch: Batch, n: int, t: int) -> Tensor | None:
        if not any(name in batch.present for name in self.cameras):
            return None
        everywhere = torch.ones(n, dtype=torch.bool, device=batch.state.device)
        here = torch.stack([batch.present.get(name, everywhere) for name in self.cameras], dim=1)
        return here[:, None].expand(-1, t, -1)
