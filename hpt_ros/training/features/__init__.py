"""Features of a frozen image encoder: computed once, kept beside the demonstrations, read while training."""

from hpt_ros.training.features.compute import cached_features
from hpt_ros.training.features.key import image_hash
from hpt_ros.training.features.reader import CachedFeatures

__all__ = ["CachedFeatures", "cached_features", "image_hash"]
