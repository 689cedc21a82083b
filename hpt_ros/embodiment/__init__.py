"""One contract for record, convert, train and serve."""

from hpt_ros.embodiment.fingerprint import as_received, fingerprint, require_same, tensor_contract
from hpt_ros.embodiment.load import embodiment_from, embodiment_to, load_embodiment, presets
from hpt_ros.embodiment.overrides import overridden
from hpt_ros.embodiment.schema import Camera, DepthCamera, Embodiment, StreamSpec

__all__ = [
    "Camera",
    "DepthCamera",
    "Embodiment",
    "StreamSpec",
    "as_received",
    "embodiment_from",
    "embodiment_to",
    "fingerprint",
    "load_embodiment",
    "overridden",
    "presets",
    "require_same",
    "tensor_contract",
]
