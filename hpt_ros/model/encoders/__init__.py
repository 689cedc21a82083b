"""Image encoders: views of an embodiment -> features for the image stem."""

from hpt_ros.model.encoders.base import ImageEncoder
from hpt_ros.model.encoders.build import build_encoder
from hpt_ros.model.encoders.frozen_resnet import FrozenResNet18
from hpt_ros.model.encoders.resnet18 import ResNet18
from hpt_ros.model.encoders.spatial_softmax import SpatialSoftmaxEncoder

__all__ = ["FrozenResNet18", "ImageEncoder", "ResNet18", "SpatialSoftmaxEncoder", "build_encoder"]
