"""Depth views -> features for the depth stem: a small CNN per camera, trained with the policy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpt_ros.embodiment import DepthCamera
from hpt_ros.errors import DataError
from hpt_ros.model.batch import Batch, Features

CHANNELS = 64
GRID = (4, 4)  # of tokens that a view gets, whatever its size


class DepthEncoder(nn.Module):
    """Batch with depth of T samples and M cameras -> features (N, T, M, 16, 64), a token for each field of a 4 x 4 grid.

    A view that `batch.present` marks as missing is hidden.
    """

    feature_dim = CHANNELS

    def __init__(self, cameras: tuple[DepthCamera, ...]) -> None:
        super().__init__()
        self.cameras = {camera.name: camera for camera in cameras}
        self.views = nn.ModuleDict({camera.name: _view() for camera in cameras})

    def forward(self, batch: Batch) -> Features:
        names = tuple(self.cameras)
        views = torch.stack([self._view_of(batch, name) for name in names], dim=2)
        present = batch.present_views(names)
        return Features(views, None if present is None else present[:, None].expand(-1, views.shape[1], -1))

    def _view_of(self, batch: Batch, name: str) -> Tensor:
        """Tokens (N, T, P, D) of one camera."""
        camera, depth = self.cameras[name], batch.depth.get(name)
        if depth is None:
            raise DataError(
                f"no depth of camera {name}; the batch has {', '.join(batch.depth) or 'none'}",
                "give every depth camera of the embodiment, and mark those that are missing in `present`",
            )
        if depth.dtype != torch.uint16 or depth.ndim != 4 or tuple(depth.shape[2:]) != camera.size_px:
            raise DataError(
                f"depth camera {name}: {depth.dtype} of shape {tuple(depth.shape)}; expected torch.uint16 "
                f"(samples, history, {', '.join(map(str, camera.size_px))}) in millimetres",
                "give depth in the size_px of the embodiment",
            )
        maps: Tensor = self.views[name](scaled(depth.flatten(0, 1), camera.range_m))
        tokens = maps.flatten(2).transpose(1, 2)
        return tokens.reshape(*depth.shape[:2], *tokens.shape[1:])


def scaled(depth: Tensor, range_m: tuple[float, float]) -> Tensor:
    """uint16 [mm] (B, H, W) -> float32 (B, 2, H, W): distance, clipped to `range_m` and scaled to [-1, 1], and whether it was measured.

    What was not measured has distance 0, the middle of the range; only the second channel tells it from a surface there.
    """
    near_mm, far_mm = (1000 * metres for metres in range_m)
    millimetres = depth.float()
    measured = millimetres > 0
    distance = (2 * (millimetres - near_mm) / (far_mm - near_mm) - 1).clamp(-1, 1)
    return torch.stack([distance * measured, measured.float()], dim=1)


def _view() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 16, 5, stride=2, padding=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, CHANNELS, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(GRID),
    )
