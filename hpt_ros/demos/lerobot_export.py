"""Demonstrations -> a LeRobot dataset, which the `lerobot` package loads; nothing of it is imported here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros import __version__
from hpt_ros.demos import lerobot_format as v3
from hpt_ros.demos.demos import Demos, Episode
from hpt_ros.demos.lerobot_stats import ImageStats, Stats, vector_stats
from hpt_ros.demos.lerobot_table import DataWriter, png, write_tasks
from hpt_ros.demos.lerobot_video import write_video
from hpt_ros.demos.optional import require
from hpt_ros.demos.partial import PartialSet
from hpt_ros.embodiment import embodiment_to

EpisodesDone = Callable[[int, int], None]
"""Called with (episodes done, episodes in all)."""


@dataclass(frozen=True)
class ExportReport:
    """What `export` wrote."""

    out: Path
    episodes: int
    frames: int
    features: tuple[str, ...]


def export(
    demos: Demos, out: Path, *, video: bool = False, overwrite: bool = False, progress: EpisodesDone | None = None
) -> ExportReport:
    """Write `demos` as a LeRobot dataset v3.0; `lerobot_format` says what lies where.

    Images are PNG, bit for bit, unless `video` asks for AV1 videos, which are smaller and lossy.

    Raises:
        BusyError: `out` exists and `overwrite` is not set.
        DataError: the format cannot hold the set (frame rate, or image size for videos).
        MissingDependencyError: pyarrow is not installed, or PyAV for videos.
    """
    require("pyarrow", v3.PURPOSE, v3.PACKAGES)
    with PartialSet(out, overwrite) as partial:
        exporter = _Exporter(demos, partial.set_folder, video)
        with DataWriter(partial.set_folder, exporter.features) as data:
            for number in range(len(demos.episodes)):
                if progress:
                    progress(number, len(demos.episodes))
                exporter.add(number, data)
        exporter.finish()
        partial.commit()
    if progress:
        progress(len(demos.episodes), len(demos.episodes))
    return ExportReport(out, len(demos.episodes), len(demos), tuple(exporter.features))


class _Exporter:
    """Collects what the folder meta/ says while the episodes are written."""

    def __init__(self, demos: Demos, root: Path, video: bool) -> None:
        self._demos = demos
        self._root = root
        self._fps = v3.frames_per_second(demos.embodiment)
        self._video = video
        self.features = v3.features(demos.embodiment, video, demos.intervention is not None)
        self._instructions = list(dict.fromkeys(_instruction(e) for e in demos.episodes))
        self._images = {camera: ImageStats() for camera in demos.images}
        self._vectors: list[dict[str, NDArray[Any]]] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, number: int, data: DataWriter) -> None:
        """Write the frames of one episode."""
        episode = self._demos.episodes[number]
        vectors = self._vector_columns(number)
        images = {camera: ImageStats() for camera in self._demos.images}
        columns: dict[str, Any] = dict(vectors)
        for name, maps in self._demos.depth.items():
            columns[v3.depth_key(name)] = np.asarray(maps[episode.start : episode.stop])
        row: dict[str, Any] = {}
        for camera, stats in images.items():
            stored = self._demos.images[camera]
            frames = _counted((stored[i] for i in range(episode.start, episode.stop)), stats)
            if self._video:
                row |= self._write_video(camera, number, frames)
            else:
                columns[v3.image_key(camera)] = [{"bytes": png(frame), "path": None} for frame in frames]
            self._images[camera].merge(stats)
        where = data.add(columns)
        self._vectors.append(vectors)
        self._rows.append(self._episode_row(number, where) | row | _flat_stats(_all_stats(vectors, images)))

    def finish(self) -> None:
        """Write meta/."""
        (self._root / "meta").mkdir(parents=True)
        write_tasks(self._root, self._instructions)
        self._write_episodes()
        joined = {key: np.concatenate([v[key] for v in self._vectors]) for key in self._vectors[0]}
        _write_json(self._root / v3.STATS, _all_stats(joined, self._images))
        _write_json(self._root / v3.INFO, self._info())
        _write_json(self._root / v3.ORIGIN, self._origin())

    def _vector_columns(self, number: int) -> dict[str, NDArray[Any]]:
        demos, episode = self._demos, self._demos.episodes[number]
        rows = np.arange(episode.start, episode.stop)
        count = len(rows)
        flags = {} if demos.intervention is None else {v3.INTERVENTION: demos.intervention[rows]}
        return {
            v3.STATE: demos.state[rows],
            v3.ACTION: demos.command[np.minimum(rows + 1, episode.stop - 1)],
            v3.COMMAND: demos.command[rows],
            v3.TICK: demos.tick_ns[rows],
            **flags,
            "timestamp": (np.arange(count) / self._fps).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, number),
            "index": rows,
            "task_index": np.full(count, self._instructions.index(_instruction(episode))),
        }

    def _write_video(self, camera: str, number: int, frames: Iterator[NDArray[np.uint8]]) -> dict[str, Any]:
        """A file per episode: stamps stay small, as float32 needs it."""
        key, where, episode = v3.image_key(camera), v3.place(number), self._demos.episodes[number]
        path = self._root / v3.VIDEO_PATH.format(video_key=key, **where)
        height, width = self._demos.images[camera].shape[1:3]
        write_video(path, frames, (height, width), self._fps)
        span = {"from_timestamp": 0.0, "to_timestamp": (episode.stop - episode.start) / self._fps}
        return {f"videos/{key}/{name}": value for name, value in (where | span).items()}

    def _episode_row(self, number: int, where: dict[str, int]) -> dict[str, Any]:
        episode = self._demos.episodes[number]
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [_instruction(episode)],
            "length": episode.stop - episode.start,
            "dataset_from_index": episode.start,
            "dataset_to_index": episode.stop,
        }
        row |= {f"data/{name}": value for name, value in where.items()}
        return row | {f"meta/episodes/{name}": value for name, value in v3.place(0).items()}

    def _write_episodes(self) -> None:
        pa, parquet = require("pyarrow", v3.PURPOSE, v3.PACKAGES), require("pyarrow.parquet", v3.PURPOSE, v3.PACKAGES)
        path = self._root / v3.EPISODES_PATH.format(**v3.place(0))
        path.parent.mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(self._rows), path)

    def _info(self) -> dict[str, Any]:
        episodes = len(self._demos.episodes)
        return {
            "codebase_version": v3.CODEBASE_VERSION,
            "robot_type": self._demos.embodiment.name,
            "total_episodes": episodes,
            "total_frames": len(self._demos),
            "total_tasks": len(self._instructions),
            "chunks_size": v3.FILES_PER_CHUNK,
            "data_files_size_in_mb": v3.DATA_FILE_MB,
            "video_files_size_in_mb": v3.VIDEO_FILE_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{episodes}"},
            "data_path": v3.DATA_PATH,
            "video_path": v3.VIDEO_PATH if self._video else None,
            "features": self.features,
        }

    def _origin(self) -> dict[str, Any]:
        demos = self._demos
        return {
            "format": v3.ORIGIN_FORMAT,
            "software": f"hpt_ros {__version__}",
            "embodiment": embodiment_to(demos.embodiment),
            "fingerprint": demos.fingerprint,
            "episodes": [asdict(episode) for episode in demos.episodes],
            "sync": demos.sync,
        }


def _instruction(episode: Episode) -> str:
    return episode.instruction or episode.task


def _counted(frames: Iterable[NDArray[np.uint8]], stats: ImageStats) -> Iterator[NDArray[np.uint8]]:
    for frame in frames:
        stats.add(frame)
        yield frame


def _all_stats(vectors: dict[str, NDArray[Any]], images: dict[str, ImageStats]) -> dict[str, Stats]:
    found = {key: vector_stats(rows) for key, rows in vectors.items()}
    return found | {v3.image_key(camera): stats.to_stats() for camera, stats in images.items()}


def _flat_stats(stats: dict[str, Stats]) -> dict[str, Any]:
    return {f"stats/{key}/{name}": values for key, of in stats.items() for name, values in of.items()}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False) + "\n")
