"""Image encoders: views of an embodiment -> features for the image stem."""

from hpt_ros.model.encoders.base import ImageEncoder
from hpt_ros.model.encoders.build import build_encoder
from hpt_ros.model.encoders.resnet import ResNet
from hpt_ros.model.encoders.resnet_encoder import ResNetEncoder
from hpt_ros.model.encoders.spatial_softmax import SpatialSoftmaxEncoder
from hpt_ros.model.encoders.towers import TowerEncoder

__all__ = ["ImageEncoder", "ResNet", "ResNetEncoder", "SpatialSoftmaxEncoder", "TowerEncoder", "build_encoder"]
