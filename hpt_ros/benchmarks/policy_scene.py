"""What `bench policy` serves: random policies of the published sizes, and camera messages as they come over ROS 2."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.model import Checkpoint, HPTPolicy, PolicyConfig
from hpt_ros.model.config import EncoderConfig
from hpt_ros.streams.cdr import typestore
from hpt_ros.streams.decode import camera_frame

CAMERA_PX, VIEW_PX = (480, 640), (224, 224)
HORIZON = 2


@dataclass(frozen=True)
class Seen:
    """An observation: state (T, S), images (T, H, W, 3) by camera."""

    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]


def embodiment() -> Embodiment:
    """A Panda with two cameras of which the policy sees 224 x 224 pixels and two samples."""
    panda = load_embodiment("sim_panda")
    cameras = tuple(replace(c, size_px=VIEW_PX, crop_px=None, transport="raw") for c in panda.cameras)
    return replace(panda, cameras=cameras, policy=replace(panda.policy, observation_horizon=HORIZON))


def checkpoint(size: str) -> Checkpoint:
    """A policy of a published size with ResNet-18, its weights drawn from seed 0."""
    torch.manual_seed(0)
    body = embodiment()
    config = PolicyConfig.sized(size, encoder=EncoderConfig("resnet18", "random"))
    policy = HPTPolicy(config, body).eval()
    rows = np.random.default_rng(0).uniform(-1, 1, (100, len(body.state_names)))
    policy.scaling.fit(rows, rows)
    return Checkpoint(policy, body, {})


class Camera:
    """An endless sequence of serialized 640 x 480 images of moving noise, and the frames that the policy sees of them."""

    def __init__(self, count: int, seed: int) -> None:
        self._spec = embodiment().cameras[0]
        wide = np.random.default_rng(seed).integers(0, 256, (CAMERA_PX[0], 2 * CAMERA_PX[1], 3), np.uint8)
        shifts = range(0, CAMERA_PX[1], max(1, CAMERA_PX[1] // count))
        self._messages = [_serialized(wide[:, shift : shift + CAMERA_PX[1]]) for shift in shifts]

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Decode message `index` to what the policy sees."""
        return camera_frame(self._messages[index % len(self._messages)], self._spec)


class Stream:
    """Observations with one new frame a camera, and how long decoding these took [s]."""

    def __init__(self, body: Embodiment) -> None:
        self._width = len(body.state_names)
        self._cameras = {camera.name: Camera(16, seed) for seed, camera in enumerate(body.cameras)}
        self._history = {name: deque([c.frame(0)] * HORIZON, HORIZON) for name, c in self._cameras.items()}
        self._count = 0

    def next(self) -> tuple[Seen, float]:
        """The next observation."""
        self._count += 1
        began = time.perf_counter()
        for name, camera in self._cameras.items():
            self._history[name].append(camera.frame(self._count))
        decode_s = time.perf_counter() - began
        state = np.full((HORIZON, self._width), np.sin(self._count / 10), np.float32)
        return Seen(state, {name: np.stack(list(frames)) for name, frames in self._history.items()}), decode_s


def _serialized(pixels: NDArray[np.uint8]) -> bytes:
    types = typestore().types
    header = types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=1, nanosec=0), frame_id="camera"
    )
    height, width, _ = pixels.shape
    message = types["sensor_msgs/msg/Image"](
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )
    return bytes(typestore().serialize_cdr(message, "sensor_msgs/msg/Image"))
