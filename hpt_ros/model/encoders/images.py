"""The one way from camera pixels to network input; training and serving both pass here."""

from __future__ import annotations

import torch
from torch import Tensor

from hpt_ros.errors import DataError

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of RGB in [0, 1]: what torchvision's networks and DINOv2 were trained with."""


PREPROCESSING = "RGB uint8 -> (pixel / 255 - mean) / std, float32"
"""Names what `to_network` does; another text makes features that are kept on a disk invalid."""


def to_network(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """RGB uint8 (..., H, W, 3) -> float32 (B, 3, H, W), `(pixel / 255 - mean) / std` per channel; leading axes become B.

    Raises:
        DataError: another dtype or channel count.
    """
    if images.dtype != torch.uint8 or images.shape[-1] != 3:
        raise DataError(
            f"images of dtype {images.dtype} and shape {tuple(images.shape)}; expected uint8 (..., height, width, 3)",
            "pass RGB frames as the camera gives them",
        )
    pixels = images.flatten(0, -4).permute(0, 3, 1, 2).float()
    return (pixels * (1 / (255 * std)).view(1, 3, 1, 1)).sub_((mean / std).view(1, 3, 1, 1))
