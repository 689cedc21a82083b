"""Bags and demonstration sets -> views."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.view import Array, Arrivals, EpisodeView, Frames, Refusal, Series
from hpt_ros.demos.bag import EpisodeBag, episode_name
from hpt_ros.demos.demos import Demos, Episode
from hpt_ros.demos.frames import EncodedFrames
from hpt_ros.demos.frames import Frames as StoredFrames
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import StreamError
from hpt_ros.streams import header_stamp_ns
from hpt_ros.streams.decode import camera_frame, command_positions, joint_positions

_AFTER_STAMP = 12  # bytes: encapsulation and header.stamp; the rest of a repeated frame is equal
_THUMBNAIL_PX = 96
_THUMBNAILS = 3  # first, middle, last
_Picture = NDArray[np.uint8]


def bag_view(bag: EpisodeBag, config: AuditConfig) -> EpisodeView:
    """Read a bag from end to end at the rates of its streams, trimmed as its edit says.

    Raises:
        DataError: a topic is missing or has another type, or the data is damaged.
    """
    robot = bag.metadata.embodiment
    reader = _BagReader(robot, config)
    for spec, receive_ns, raw in bag.received(robot):
        reader.add(spec.key, receive_ns, raw)
    return reader.view(episode_name(bag.path), bag.score, bag.metadata.task)


def demos_views(demos: Demos, config: AuditConfig) -> Iterator[EpisodeView]:
    """The episodes of a demonstration set, at its ticks."""
    robot, joints = demos.embodiment, len(demos.embodiment.joints.names)
    for episode in demos.episodes:
        rows = slice(episode.start, episode.stop)
        time_s = (demos.tick_ns[rows] - demos.tick_ns[episode.start]) / 1e9
        state = Series(time_s, demos.state[rows].astype(np.float64))
        cameras = {name: _ticked(frames, episode, demos.tick_ns, config) for name, frames in demos.images.items()}
        yield EpisodeView(
            name=episode.source,
            embodiment=robot,
            score=episode.score,
            task=episode.task,
            joints=state.columns(slice(0, joints)),
            gripper=state.columns(slice(-1, None)) if robot.gripper else None,
            command=Series(time_s, demos.command[rows].astype(np.float64)),
            cameras=cameras,
            from_demos=True,
        )


def _ticked(stored: StoredFrames, episode: Episode, tick_ns: NDArray[np.int64], config: AuditConfig) -> Frames:
    """The frames that were chosen for the ticks; image files are told apart without decoding them."""
    builder = _FramesBuilder(config)
    for i in range(episode.start, episode.stop):
        data = stored.file(i) if isinstance(stored, EncodedFrames) else np.ascontiguousarray(stored[i])
        builder.add(int(tick_ns[i]), zlib.crc32(data.data), partial(stored.__getitem__, i))
    return builder.frames(int(tick_ns[episode.start]))


class _BagReader:
    """Collects the messages of one episode by stream."""

    def __init__(self, robot: Embodiment, config: AuditConfig) -> None:
        self._robot = robot
        self._stamps_ns: dict[str, list[int]] = defaultdict(list)
        self._delays_ns: dict[str, list[int]] = defaultdict(list)
        self._rows: dict[str, list[tuple[int, Array]]] = defaultdict(list)
        self._refused: dict[str, list[str]] = defaultdict(list)
        self._cameras = {f"camera.{camera.name}": (camera, _FramesBuilder(config)) for camera in robot.cameras}

    def add(self, key: str, receive_ns: int, raw: bytes) -> None:
        try:
            stamp_ns = header_stamp_ns(raw)
            self._stamps_ns[key].append(stamp_ns)
            self._delays_ns[key].append(receive_ns - stamp_ns)
            if key in self._cameras:
                camera, builder = self._cameras[key]
                builder.add(stamp_ns, zlib.crc32(memoryview(raw)[_AFTER_STAMP:]), partial(camera_frame, raw, camera))
            elif (names := self._names(key)) is not None:
                decode = command_positions if key == "command" else joint_positions
                self._rows[key].append((stamp_ns, decode(raw, names)))
        except StreamError as error:
            self._refused[key].append(error.message)

    def view(self, name: str, score: float, task: str) -> EpisodeView:
        robot = self._robot
        start_ns = min((min(stamps) for stamps in self._stamps_ns.values() if stamps), default=0)
        gripper = None
        if robot.gripper is not None:
            fingers = self._series("gripper", len(robot.gripper.names), start_ns)
            gripper = Series(fingers.time_s, fingers.values.sum(axis=1, keepdims=True))
        return EpisodeView(
            name=name,
            embodiment=robot,
            score=score,
            task=task,
            joints=self._series("joints", len(robot.joints.names), start_ns),
            gripper=gripper,
            command=self._series("command", len(robot.command_names), start_ns),
            cameras={camera.name: builder.frames(start_ns) for camera, builder in self._cameras.values()},
            streams={key: self._arrivals(key, start_ns) for key in self._stamps_ns},
            refused=tuple(Refusal(key, len(why), why[0]) for key, why in self._refused.items()),
        )

    def _names(self, key: str) -> tuple[str, ...] | None:
        """Of the values in a message of the stream; None for a depth camera, of which only the stamps are looked at."""
        robot = self._robot
        fingers = robot.gripper.names if robot.gripper else None
        return {"joints": robot.joints.names, "gripper": fingers, "command": robot.command_names}.get(key)

    def _series(self, key: str, columns: int, start_ns: int) -> Series:
        rows = sorted(dict(reversed(self._rows[key])).items())  # the first of equal stamps stays
        if not rows:
            return Series(np.empty(0), np.empty((0, columns)))
        stamps, values = zip(*rows, strict=True)
        return Series((np.array(stamps) - start_ns) / 1e9, np.stack(values))

    def _arrivals(self, key: str, start_ns: int) -> Arrivals:
        stamps, delays = np.array(self._stamps_ns[key]), np.array(self._delays_ns[key])
        order = np.argsort(stamps, kind="stable")
        return Arrivals((stamps[order] - start_ns) / 1e9, delays[order] / 1e9)


class _FramesBuilder:
    """Figures of a camera's frames; a picture is only decoded when its brightness or thumbnail is wanted."""

    def __init__(self, config: AuditConfig) -> None:
        self._config = config
        self._every_ns = round(config.frame_sample_s * 1e9)
        self._seen: list[tuple[int, int]] = []  # stamp, digest
        self._sampled: list[tuple[int, float, float, _Picture]] = []  # index, dark, bright, thumbnail
        self._next_ns = 0

    def add(self, stamp_ns: int, digest: int, picture: Callable[[], _Picture]) -> None:
        """Raises StreamError: the picture was wanted and cannot be decoded; it counts as a frame all the same."""
        self._seen.append((stamp_ns, digest))
        if stamp_ns < self._next_ns:
            return
        self._next_ns = stamp_ns + self._every_ns
        pixels = picture()
        dark = float((pixels.max(axis=2) <= self._config.black_level).mean())
        bright = float((pixels.min(axis=2) >= self._config.white_level).mean())
        step = max(1, -(-max(pixels.shape[:2]) // _THUMBNAIL_PX))
        self._sampled.append((len(self._seen) - 1, dark, bright, pixels[::step, ::step].copy()))

    def frames(self, start_ns: int) -> Frames:
        picks = np.unique(np.linspace(0, len(self._sampled) - 1, min(_THUMBNAILS, len(self._sampled))).astype(int))
        stamps, digests = np.array(self._seen, dtype=np.int64).reshape(-1, 2).T
        return Frames(
            time_s=(stamps - start_ns) / 1e9,
            digest=digests.astype(np.uint32),
            sampled=np.array([index for index, *_ in self._sampled], dtype=np.int64),
            dark_share=np.array([dark for _, dark, _, _ in self._sampled]),
            bright_share=np.array([bright for _, _, bright, _ in self._sampled]),
            thumbnails=tuple(self._sampled[i][3] for i in picks),
        )
