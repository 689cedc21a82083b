"""The alignment rule, for live nodes and for the converter: what an observation at a tick consists of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, StreamSpec
from hpt_ros.errors import StreamError
from hpt_ros.streams.buffer import Sample, StreamBuffer
from hpt_ros.streams.cdr import header_stamp_ns
from hpt_ros.streams.decode import camera_frame, joint_positions
from hpt_ros.streams.depth import depth_frame

PATIENCE_NS = 500_000_000
"""How long after its time a tick can still be observed: buffers reach back this much further."""
AHEAD_NS = 50_000_000
"""A stamp may be this far (or a period) ahead of the clock at arrival: nothing is measured in the future, but clocks differ a little."""

Decoder = Callable[[bytes], Any]
"""Serialized message -> the numpy array that a tick is given of it."""


class StaleStreamError(StreamError):
    """There is no observation at the tick, because `stream` has no sample that is fresh enough."""

    def __init__(self, stream: str, reason: str) -> None:
        super().__init__(f"stream {stream}: {reason}", "check its publisher, or its timing in the embodiment")
        self.stream = stream
        self.reason = reason


@dataclass(frozen=True)
class Observation:
    """What the policy sees at a tick; T samples of history, spaced by the policy period, oldest first.

    state: float32 (T, S), order of `embodiment.state_names` [rad, m].
    images: camera name -> uint8 (T, H, W, 3), RGB.
    ages_ns: stream key -> tick minus stamp of the newest sample used.
    depth: depth camera name -> uint16 (T, H, W) [mm], 0 where nothing was measured.
    """

    tick_ns: int
    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    ages_ns: dict[str, int]
    depth: dict[str, NDArray[np.uint16]] = field(default_factory=dict)


class _Stream:
    """One buffer with its decoder and what the last tick took from it."""

    def __init__(self, spec: StreamSpec, history_ns: int, decode: Decoder) -> None:
        self.spec = spec
        self.decode = decode
        self.horizon_ns = spec.max_age_ns + spec.allowance_ns + history_ns + PATIENCE_NS + spec.frozen_after_ns
        self._ahead_ns = max(AHEAD_NS, round(1e9 / spec.rate_hz))
        self.buffer = StreamBuffer(self.horizon_ns)
        self.delivered = False
        self.late = 0
        self._refusal = ""
        self._last_cut_ns = -1
        self._last_used_ns = -1

    def push(self, raw: bytes, now_ns: int | None, known_ns: int | None) -> None:
        try:
            if now_ns is not None and (ahead_ns := header_stamp_ns(raw) - now_ns) > self._ahead_ns:
                raise StreamError(f"its stamp is {ahead_ns / 1e6:.0f} ms ahead of the clock")
            stamp_ns = self.buffer.push(raw, known_ns)
        except StreamError as error:
            self._refusal = f" (a message was refused: {error.message})"
            return
        self.delivered, self._refusal = True, ""
        if self._last_used_ns < stamp_ns <= self._last_cut_ns:
            self.late += 1

    def select(self, tick_ns: int, offsets_ns: list[int]) -> list[Sample]:
        """The sample of each moment `tick_ns - offset`; the last offset is 0."""
        picked = [self.buffer.at_or_before(tick_ns - offset - self.spec.allowance_ns) for offset in offsets_ns]
        self._last_cut_ns = tick_ns - self.spec.allowance_ns
        self._last_used_ns = picked[-1].stamp_ns if picked[-1] else -1
        samples = []
        for offset, sample in zip(reversed(offsets_ns), reversed(picked), strict=True):
            if sample is None or tick_ns - offset - sample.stamp_ns > self.spec.max_age_ns:
                raise StaleStreamError(self.spec.key, self._why_stale(tick_ns, offset, sample))
            samples.append(sample)
        if self.spec.frozen_after_ns:
            self._check_alive(samples[0])
        return samples[::-1]

    def _check_alive(self, newest: Sample) -> None:
        same_ns = newest.stamp_ns - self.buffer.unchanged_since(newest)
        if same_ns >= self.spec.frozen_after_ns:
            allowed_ms = self.spec.frozen_after_ns / 1e6
            text = f"frozen: nothing has changed for {same_ns / 1e6:.0f} ms of new stamps, less than {allowed_ms:.0f} ms allowed"
            raise StaleStreamError(self.spec.key, text)

    def value(self, sample: Sample) -> Any:
        if sample.value is None:
            try:
                sample.value = self.decode(sample.raw)
            except StreamError as error:
                raise StreamError(
                    f"stream {self.spec.key} ({self.spec.topic}): {error.message}", error.remedy
                ) from error
        return sample.value

    def _why_stale(self, tick_ns: int, offset_ns: int, sample: Sample | None) -> str:
        return self._gap(tick_ns, offset_ns, sample) + self._refusal

    def _gap(self, tick_ns: int, offset_ns: int, sample: Sample | None) -> str:
        newest_ns = self.buffer.newest_ns
        if newest_ns is None:
            return f"nothing received on {self.spec.topic}" if not self.delivered else "nothing since the clock jumped"
        ahead_ns = newest_ns - tick_ns
        if ahead_ns > self.horizon_ns:  # of another time: what the publisher stamps from now on must find room
            self.buffer.clear()
            return f"stamps are {ahead_ns / 1e9:.1f} s ahead of the clock"
        when = f", {offset_ns / 1e6:.0f} ms before the tick" if offset_ns else ""
        if sample is None:
            return f"no sample yet from {self.spec.allowance_ns / 1e6:.0f} ms or more before the tick{when}"
        age_ms = (tick_ns - offset_ns - sample.stamp_ns) / 1e6
        return f"newest sample is {age_ms:.0f} ms old, at most {self.spec.max_age_ns / 1e6:.0f} ms allowed{when}"


class Observer:
    """Collects serialized messages and aligns them at ticks.

    At tick `t` a stream contributes its newest sample with `stamp <= t - allowance`, and one per policy period before
    that for the history; each must be younger than the stream's age budget. Messages are decoded when a tick uses them.
    One thread may push while another observes: a lock is held for the bookkeeping, not while decoding.
    `decoders`: by stream key, in place of the usual ones.
    """

    def __init__(self, embodiment: Embodiment, decoders: Mapping[str, Decoder] | None = None) -> None:
        policy = embodiment.policy
        self._offsets_ns = [k * policy.period_ns for k in reversed(range(policy.observation_horizon))]
        self._embodiment = embodiment
        self._streams = {
            spec.key: _Stream(spec, self._offsets_ns[0], (decoders or {}).get(spec.key) or _decoder(embodiment, spec))
            for spec in embodiment.streams()
        }
        self._lock = threading.Lock()

    def push(self, key: str, raw: bytes, now_ns: int | None = None, *, stamp_ns: int | None = None) -> None:
        """Add a message to the stream `key` of `embodiment.streams()`; its stamp is read unless it is known.

        A message without a usable stamp, or with one from the future of `now_ns`, is no sample: a stream that has no
        other goes stale, and the reason tells.
        """
        with self._lock:
            self._streams[key].push(raw, now_ns, stamp_ns)

    def observe(self, tick_ns: int) -> Observation:
        """The observation at `tick_ns`, which may lie up to `PATIENCE_NS` in the past.

        Raises:
            StaleStreamError: a stream has no sample for the tick or for a moment of its history.
            StreamError: a sample that the tick uses cannot be decoded, lacks a joint or holds a value that is not finite.
        """
        with self._lock:
            picked = {key: stream.select(tick_ns, self._offsets_ns) for key, stream in self._streams.items()}
        values = {key: [self._streams[key].value(sample) for sample in samples] for key, samples in picked.items()}
        state = [np.stack(values[key]) for key in ("joints", "gripper") if key in values]
        return Observation(
            tick_ns=tick_ns,
            state=np.concatenate(state, axis=1).astype(np.float32),
            images={camera.name: np.stack(values[f"camera.{camera.name}"]) for camera in self._embodiment.cameras},
            ages_ns={key: tick_ns - samples[-1].stamp_ns for key, samples in picked.items()},
            depth={camera.name: np.stack(values[f"depth.{camera.name}"]) for camera in self._embodiment.depth},
        )

    @property
    def never_delivered(self) -> list[str]:
        """Keys of the streams from which nothing has come yet."""
        return [key for key, stream in self._streams.items() if not stream.delivered]

    @property
    def late_samples(self) -> dict[str, int]:
        """By stream key: samples that arrived after the tick that should have used them."""
        return {key: stream.late for key, stream in self._streams.items()}


def _decoder(embodiment: Embodiment, spec: StreamSpec) -> Decoder:
    if spec.key == "joints":
        return lambda raw: joint_positions(raw, embodiment.joints.names)
    gripper = embodiment.gripper
    if spec.key == "gripper" and gripper is not None:
        return lambda raw: joint_positions(raw, gripper.names).sum(keepdims=True)
    kind, name = spec.key.split(".")
    if kind == "depth":
        depth_camera = next(camera for camera in embodiment.depth if camera.name == name)
        return lambda raw: depth_frame(raw, depth_camera)
    colour_camera = next(camera for camera in embodiment.cameras if camera.name == name)
    return lambda raw: camera_frame(raw, colour_camera)
