"""Inference for serving: one observation in, one chunk of actions out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.configuration import check
from hpt_ros.control.actions import action_space
from hpt_ros.control.commitment import Committed
from hpt_ros.errors import DataError
from hpt_ros.model.batch import Batch, Features
from hpt_ros.model.checkpoint import Checkpoint
from hpt_ros.model.heads.guidance import Prefix
from hpt_ros.model.language import with_instruction
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.serving import (
    FixedTokens,
    FrameCache,
    ServingOptions,
    Threads,
    candidates,
    fastest,
    plain_copy,
    prepared,
    warn_if_waiting_burns,
)
from hpt_ros.model.serving.options import Precision, Quantize

WARM_UP_CALLS = 3
AGREEMENT = 1e-3
"""Of the action range: by how much fast parts may move an action at load before the plain ones take their place."""

_log = logging.getLogger(__name__)


class ObservationLike(Protocol):
    """state float32 (T, S) in physical units; images by camera name, each uint8 RGB (T, H, W, 3).

    Embodiments with depth cameras read `depth` as well: by camera name, each uint16 (T, H, W) [mm].
    """

    @property
    def state(self) -> NDArray[np.float32]: ...
    @property
    def images(self) -> Mapping[str, NDArray[np.uint8]]: ...


class _Arrays(NamedTuple):
    """An observation that was checked."""

    state: NDArray[np.float32]
    images: Mapping[str, NDArray[np.uint8]]
    depth: Mapping[str, NDArray[np.uint16]]


class PolicyRunner:
    """A checkpoint ready to act; the constructor pays for the slow first calls. For one thread at a time.

    The checkpoint's policy stays as it is: `served` is a copy, whose fast parts are compared with it at load;
    `deviation` is what they differ by, of the action range.

    Args:
        threads: CPU threads of torch; None measures at load what is fastest here.
        instruction: what to do, for policies with language; empty: the only one that the checkpoint knows. One that it
            does not know needs the language model on this machine.
        seed: of heads that draw.
        rtc: chunks can go on from rows that are committed, see `act`.

    Raises:
        ConfigError: options that this machine or this policy cannot serve.
        DataError: the checkpoint does not have the instruction.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        threads: int | None = None,
        instruction: str = "",
        *,
        device: str = "cpu",
        compile: bool = False,
        quantize: Quantize = "none",
        dtype: Precision = "float32",
        seed: int = 0,
        rtc: bool = False,
    ) -> None:
        check(threads is None or threads >= 1, "threads", threads, "at least 1")
        if rtc:
            _require_resuming(checkpoint.policy)
        self.embodiment = checkpoint.embodiment
        self.options = ServingOptions(device, dtype, compile, quantize)
        policy, horizon = checkpoint.policy.eval(), self.embodiment.policy.observation_horizon
        self._space = action_space(self.embodiment)
        self._device = torch.device(device)
        self._generator = torch.Generator(self._device)
        self._state_shape = (horizon, len(self.embodiment.state_names))
        self._image_shapes = {c.name: (horizon, *c.size_px, 3) for c in self.embodiment.cameras}
        self._depth_shapes = {c.name: (horizon, *c.size_px) for c in self.embodiment.depth}
        self._language = _language(checkpoint, instruction, self._device)
        seen = policy.scaling.state.input_stats
        self._middle = ((seen.min + seen.max) / 2).cpu().numpy()
        if threads is not None:
            torch.set_num_threads(threads)
        self.deviation = self._serve_verified(policy)
        self.threads = self._choose_threads(threads)
        if max(self.threads.encoder, self.threads.rest) > 1:
            warn_if_waiting_burns()
        for i in range(WARM_UP_CALLS):
            arrays = self._noise(i)
            chunk = self._run(arrays)
            if rtc:
                decoded = self._space.decode(chunk, arrays.state[-1])
                self._run(arrays, Committed(decoded, np.ones(len(decoded))))
        self._frames.clear()
        self.seed(seed)

    def act(self, observation: ObservationLike, committed: Committed | None = None) -> NDArray[np.float32]:
        """Chunk (rows, P), columns `embodiment.chunk_columns`: row i is due (i + 1) policy periods after the observation.

        Always finite, and made of actions within the range that was demonstrated. Actions that are differences are
        added to the newest state of the observation. With `committed` the chunk goes on from those rows, of this policy (`rtc`).

        Raises:
            DataError: an observation of other shapes or types than the embodiment's, or values that are not finite.
        """
        _require("state", observation.state, self._state_shape, np.float32)
        images = _views("camera", observation.images, self._image_shapes, np.uint8)
        depth = _views("depth camera", getattr(observation, "depth", {}), self._depth_shapes, np.uint16)
        if not np.isfinite(observation.state).all():
            raise DataError(
                f"the state is not finite: {observation.state.tolist()}", "check the joint state's publisher"
            )
        arrays = _Arrays(observation.state, images, depth)
        chunk = self._space.decode(self._run(arrays, committed), observation.state[-1])
        if not np.isfinite(chunk).all():
            raise DataError("the policy gave an action that is not finite", "use another checkpoint")
        return chunk

    def seed(self, seed: int) -> None:
        """Start the random numbers of the head anew: the same observations then give the same chunks."""
        self._generator.manual_seed(seed)

    @property
    def reused_frames(self) -> int:
        """Camera frames since the start that did not have to be encoded again."""
        return self._frames.reused

    @torch.inference_mode()
    def _run(self, arrays: _Arrays, committed: Committed | None = None) -> NDArray[np.float32]:
        torch.set_num_threads(self.threads.encoder)
        features = self._features(arrays)
        torch.set_num_threads(self.threads.rest)
        action = self.served.scaling.action
        prefix = self._prefix(committed, arrays.state[-1]) if committed else None
        predicted = action.unnormalize(self._act(features, prefix))[0]
        chunk: NDArray[np.float32] = predicted.clamp(action.input_stats.min, action.input_stats.max).cpu().numpy()
        return chunk

    def _features(self, arrays: _Arrays) -> dict[str, Features]:
        """Features by modality."""
        policy = self.served
        frames = self._frames.features(arrays.images)
        batch = replace(
            self._language,
            state=policy.scaling.state.normalize(torch.from_numpy(arrays.state)[None].to(self._device)),
            depth={name: torch.from_numpy(maps)[None].to(self._device) for name, maps in arrays.depth.items()},
        )
        features = {name: policy.encoder(name)(batch) for name in policy.modalities if name != "image"}
        encoder: Any = policy.encoder("image")
        return {"image": encoder.joined(frames, 1, len(arrays.state)), **features}

    def _prefix(self, committed: Committed, state: NDArray[np.float32]) -> Prefix:
        rows = torch.from_numpy(self._space.undecode(committed.rows, state)).to(self._device)
        weight = torch.from_numpy(committed.weight).to(self._device, torch.float32)
        return Prefix(self.served.scaling.action.normalize(rows), weight)

    def _act(self, features: Mapping[str, Features], prefix: Prefix | None = None) -> Tensor:
        """Normalised chunk (1, rows, A)."""
        return self.served.act(features, self._generator, prefix)

    def _serve_verified(self, policy: HPTPolicy) -> float:
        """Serve the fast copy, or the plain one where they disagree; by how much they do, of the action range."""
        arrays = self._noise(0)
        example = {name: torch.from_numpy(frames[-1:]).to(self._device) for name, frames in arrays.images.items()}
        plain = self._first_chunk(plain_copy(policy, self.options), arrays)
        fast = self._first_chunk(prepared(policy, self.options, example), arrays)
        deviation = float((fast - plain).abs().max()) / 2  # normalised actions span 2
        if not self.options.exact:
            _log.info("computed coarser, actions move by up to %.2g of their range", deviation)
        elif not deviation <= AGREEMENT:  # also where one of them is not finite
            _log.warning("fast parts move actions by %.2g of their range here: serving the plain policy", deviation)
            self._serve(plain_copy(policy, self.options))
            return 0.0
        return deviation

    @torch.inference_mode()
    def _first_chunk(self, served: HPTPolicy, arrays: _Arrays) -> Tensor:
        self._serve(served)
        self.seed(0)
        return self._act(self._features(arrays))

    def _serve(self, policy: HPTPolicy) -> None:
        self.served = policy
        encoder: Any = policy.encoder("image")
        self._frames = FrameCache(encoder.frames, self._device)
        if self._language.language is not None:
            key = f"{policy.domain}_language"
            policy.stems[key] = FixedTokens(policy.stems[key](policy.encoder("language")(self._language)))

    def _choose_threads(self, threads: int | None) -> Threads:
        if self.options.cuda:
            return Threads(1, 1)
        arrays = self._noise(0)
        newest = {name: torch.from_numpy(frames[-1:]) for name, frames in arrays.images.items()}
        encoder: Any = self.served.encoder("image")
        counts = candidates(threads)
        with torch.inference_mode():
            features = self._features(arrays)
            rest = fastest(counts, lambda: self._act(features))
            return Threads(threads or fastest(counts, lambda: encoder.frames(newest)), rest)

    def _noise(self, seed: int) -> _Arrays:
        """State in the middle of what was seen, images and depth of noise."""
        rng = np.random.default_rng(seed)
        return _Arrays(
            np.broadcast_to(self._middle, self._state_shape).astype(np.float32),
            {name: rng.integers(0, 256, shape, np.uint8) for name, shape in self._image_shapes.items()},
            {name: rng.integers(0, 2**16, shape, np.uint16) for name, shape in self._depth_shapes.items()},
        )


def _require_resuming(policy: HPTPolicy) -> None:
    check(
        policy.head.facts.resumes,
        "rtc",
        f"a policy with head.kind {policy.config.head.kind}",
        "a head that can go on from given rows: diffusion or flow",
        "leave rtc away, or train with such a head",
    )


def _language(checkpoint: Checkpoint, instruction: str, device: torch.device) -> Batch:
    """A batch of which only the language is filled in."""
    state = torch.empty(0, device=device)
    language, cached = checkpoint.policy.config.language, checkpoint.instructions
    if language is None:
        check(not instruction, "instruction", instruction, "none: this policy has no language", "train with language")
        return Batch(state)
    if cached is None:
        raise DataError(
            "the policy follows instructions, and the tokens of none are known", "load it from a checkpoint"
        )
    values, keep = with_instruction(cached, language, instruction).tokens(instruction)
    return Batch(state, language=values[None].to(device), language_keep=keep[None].to(device))


def _views(
    kind: str, found: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]], dtype: type[np.generic]
) -> dict[str, NDArray[Any]]:
    """The arrays of the embodiment's cameras, in their order."""
    for name, shape in shapes.items():
        if name not in found:
            raise DataError(f"the observation lacks {kind} {name}; it has {', '.join(found) or 'none'}")
        _require(f"{kind} {name}", found[name], shape, dtype)
    return {name: found[name] for name in shapes}


def _require(what: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise DataError(
            f"{what}: found {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}",
            "give the policy observations of the embodiment it was trained for",
        )
