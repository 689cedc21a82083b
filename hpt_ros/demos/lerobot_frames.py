"""Frames of a LeRobot dataset -> rows of a demonstration set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos import lerobot_format as v3
from hpt_ros.demos.align import Row
from hpt_ros.demos.frames import kept_pixels
from hpt_ros.demos.lerobot_mapping import Mapped, Vector
from hpt_ros.demos.lerobot_table import from_png
from hpt_ros.demos.lerobot_video import read_video
from hpt_ros.demos.optional import require
from hpt_ros.embodiment import Camera, Embodiment
from hpt_ros.errors import DataError, StreamError
from hpt_ros.streams import Observation
from hpt_ros.streams.decode import fitted

_ROWS_AT_ONCE = 64  # of a data file in memory


class FrameReader:
    """Frames of the data files, in order, a few at a time."""

    def __init__(self, folder: Path, info: Mapping[str, Any], mapped: Mapped, embodiment: Embodiment) -> None:
        self._folder = folder
        self._info = info
        self._mapped = mapped
        self._embodiment = embodiment
        self._videos = [key for key in mapped.images.values() if key in mapped.videos]

    def episodes(self) -> dict[int, dict[str, Any]]:
        """The table of episodes without its statistics, by episode index."""
        found = {}
        for path in self._files(v3.EPISODES_FOLDER):
            for row in self._read(path, lambda name: not name.startswith("stats/")):
                missing = [key for key in self._episode_keys() if row.get(key) is None]
                if missing:
                    raise DataError(f"{path}: no {', '.join(missing)}", "export the dataset again")
                found[int(row["episode_index"])] = row
        return found

    def frames(self) -> Iterator[dict[str, Any]]:
        """Every frame as a row by feature; videos are not among them."""
        mapped = self._mapped
        keys = {"episode_index", mapped.state.key, mapped.action.key, *mapped.images.values(), *mapped.depth.values()}
        keys -= set(self._videos)
        keys |= {mapped.command.key} if mapped.command else set()
        keys |= {key for key in (mapped.tick, mapped.intervention) if key}
        for path in self._files("data"):
            yield from self._read(path, keys.__contains__)

    def rows(self, frames: Iterable[dict[str, Any]], about: Mapping[str, Any]) -> Iterator[Row]:
        """The ticks of one episode; `about` is its row of the table of episodes."""
        mapped, period_ns = self._mapped, self._embodiment.policy.period_ns
        videos = {key: self._video(key, about) for key in self._videos}
        action: NDArray[np.float32] | None = None
        for number, frame in enumerate(frames):
            where = f"{self._folder}: episode {about['episode_index']}, frame {number}"
            if number == about["length"]:
                raise DataError(f"{where}: the episode should have {number} frames", "export the dataset again")
            images = {}
            for camera in self._embodiment.cameras:
                key = mapped.images[camera.name]
                image = next(videos[key]) if key in videos else from_png(_file_bytes(frame[key], where), where)
                images[camera.name] = _fit(image, camera, where)[None]
            depth = {name: np.array(frame[key], dtype=np.uint16)[None] for name, key in mapped.depth.items()}
            state = _values(frame, mapped.state, where)[None]
            previous, action = action, _values(frame, mapped.action, where)
            if mapped.command:
                command = _values(frame, mapped.command, where)
            else:
                command = action if previous is None else previous
            tick_ns = int(frame[mapped.tick]) if mapped.tick else number * period_ns
            intervention = mapped.intervention is not None and bool(np.any(frame[mapped.intervention]))
            yield Row(Observation(tick_ns, state, images, {}, depth), command, 0, intervention)

    def _episode_keys(self) -> list[str]:
        """Columns of the table of episodes that are used."""
        place = ("chunk_index", "file_index", "from_timestamp")
        videos = [f"videos/{key}/{name}" for key in self._videos for name in place]
        return ["episode_index", "length", *videos]

    def _video(self, key: str, about: Mapping[str, Any]) -> Iterator[NDArray[np.uint8]]:
        place = {name: about[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        path = self._folder / self._info["video_path"].format(video_key=key, **place)
        return read_video(path, about[f"videos/{key}/from_timestamp"], about["length"], self._info["fps"])

    def _files(self, folder: str) -> list[Path]:
        files = sorted((self._folder / folder).glob("*/*.parquet"))
        if not files:
            raise DataError(f"{self._folder}: no file below {folder}/", "copy the whole dataset")
        return files

    def _read(self, path: Path, wanted: Any) -> Iterator[dict[str, Any]]:
        arrow, parquet = (require(name, v3.PURPOSE, v3.PACKAGES) for name in ("pyarrow", "pyarrow.parquet"))
        try:
            with parquet.ParquetFile(path) as file:
                columns = [name for name in file.schema_arrow.names if wanted(name)]
                for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
                    yield from batch.to_pylist()
        except (arrow.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable parquet file: {error}") from error


def _values(frame: Mapping[str, Any], vector: Vector, where: str) -> NDArray[np.float32]:
    try:
        values = np.array(frame[vector.key], dtype=np.float32).reshape(-1)[list(vector.entries)]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{where}: {vector.key} does not hold what {v3.INFO} says: {error!r}") from error
    if not np.isfinite(values).all():
        raise DataError(f"{where}: {vector.key} is not finite: {values.tolist()}")
    return values


def _file_bytes(value: Any, where: str) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else None
    if not isinstance(data, bytes):
        raise DataError(f"{where}: the image is not embedded in the data file", "export the dataset with its images")
    return data


def _fit(image: NDArray[np.uint8], camera: Camera, where: str) -> NDArray[np.uint8]:
    try:
        frame = image if image.shape[:2] == camera.size_px else fitted(image, camera)
    except StreamError as error:
        raise DataError(f"{where}: {error.message}", error.remedy) from error
    return kept_pixels(frame, camera)
