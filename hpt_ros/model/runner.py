"""Inference for serving: one observation in, one chunk of actions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.errors import DataError
from hpt_ros.model.batch import Batch
from hpt_ros.model.checkpoint import Checkpoint

WARM_UP_CALLS = 3


class ObservationLike(Protocol):
    """state float32 (T, S) in physical units; images by camera name, each uint8 RGB (T, H, W, 3)."""

    @property
    def state(self) -> NDArray[np.float32]: ...
    @property
    def images(self) -> Mapping[str, NDArray[np.uint8]]: ...


class PolicyRunner:
    """A checkpoint ready to act; the constructor pays for the slow first calls.

    Args:
        threads: CPU threads of torch in this whole process; None leaves them.
    """

    def __init__(self, checkpoint: Checkpoint, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.embodiment = checkpoint.embodiment
        self._policy = checkpoint.policy.eval()
        policy = self.embodiment.policy
        self._state_shape = (policy.observation_horizon, len(self.embodiment.state_names))
        self._image_shapes = {c.name: (policy.observation_horizon, *c.size_px, 3) for c in self.embodiment.cameras}
        for _ in range(WARM_UP_CALLS):
            self._run(
                np.zeros(self._state_shape, np.float32),
                {name: np.zeros(shape, np.uint8) for name, shape in self._image_shapes.items()},
            )

    def act(self, observation: ObservationLike) -> NDArray[np.float32]:
        """Chunk (rows, A) in physical units: row i is due (i + 1) policy periods after the observation.

        Always finite, and never outside the range of actions that was demonstrated.

        Raises:
            DataError: an observation of other shapes or types than the embodiment's, or values that are not finite.
        """
        _require("state", observation.state, self._state_shape, np.float32)
        for name, shape in self._image_shapes.items():
            if name not in observation.images:
                raise DataError(
                    f"the observation lacks camera {name}; it has {', '.join(observation.images) or 'none'}"
                )
            _require(f"camera {name}", observation.images[name], shape, np.uint8)
        if not np.isfinite(observation.state).all():
            raise DataError(
                f"the state is not finite: {observation.state.tolist()}", "check the joint state's publisher"
            )
        chunk = self._run(observation.state, observation.images)
        if not np.isfinite(chunk).all():
            raise DataError("the policy gave an action that is not finite", "use another checkpoint")
        return chunk

    @torch.inference_mode()
    def _run(self, state: NDArray[np.float32], images: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.float32]:
        pixels = {name: torch.from_numpy(np.ascontiguousarray(images[name]))[None] for name in self._image_shapes}
        seen = self._policy.scaling.action.input_stats
        predicted = self._policy.predict(Batch(torch.from_numpy(state)[None], pixels))[0]
        chunk: NDArray[np.float32] = predicted.clamp(seen.min, seen.max).numpy()
        return chunk


def _require(what: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise DataError(
            f"{what}: found {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}",
            "give the policy observations of the embodiment it was trained for",
        )
