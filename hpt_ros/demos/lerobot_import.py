"""A LeRobot dataset -> demonstrations: the way back from `lerobot_export`, and the way in for data from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from hpt_ros import __version__
from hpt_ros.demos import lerobot_format as v3
from hpt_ros.demos.demos import Episode
from hpt_ros.demos.lerobot_export import EpisodesDone
from hpt_ros.demos.lerobot_frames import FrameReader
from hpt_ros.demos.lerobot_mapping import map_features, read_info
from hpt_ros.demos.optional import require
from hpt_ros.demos.partial import PartialSet
from hpt_ros.demos.store import FORMAT_VERSION, INDEX, RowsWriter, statistics
from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, fingerprint
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.paths import sync


@dataclass(frozen=True)
class ImportReport:
    """What `import_lerobot` wrote."""

    out: Path
    episodes: int
    ticks: int


def import_lerobot(
    folder: Path,
    embodiment: Embodiment | None,
    out: Path,
    *,
    rename: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: EpisodesDone | None = None,
) -> ImportReport:
    """Read a LeRobot dataset v3.0 into a demonstration set; features are found by name, `rename` maps theirs to ours.

    Without `embodiment` the one that `export` stored is used. An image that does not have the camera's `size_px` is
    cropped and resized as `convert` does. Without a `command` feature, `action` of a frame is the command in force at the
    next frame, and at the first frame of an episode its own.

    Raises:
        DataError: no readable LeRobot dataset, or not one that fits the embodiment.
        BusyError: `out` exists and `overwrite` is not set.
        MissingDependencyError: pyarrow is not installed, or PyAV for videos.
    """
    require("pyarrow", v3.PURPOSE, v3.PACKAGES)
    info, origin = read_info(folder), _origin(folder)
    robot = embodiment or _stored_embodiment(folder, origin)
    mapped = map_features(info, robot, rename or {})
    reader = FrameReader(folder, info, mapped, robot)
    index = reader.episodes()
    stored = _stored_episodes(origin, index)
    with PartialSet(out, overwrite) as partial:
        episodes = []
        with RowsWriter(partial.set_folder, robot, False, mapped.intervention is not None) as writer:
            for number, about in enumerate(_written(reader, index, writer, folder)):
                if progress:
                    progress(number, len(index))
                start = writer.rows - about["length"]
                episodes.append(stored[number] if stored else _episode(folder, about, start))
            writer.sync()
        made = {
            "format": FORMAT_VERSION,
            "embodiment": embodiment_to(robot),
            "fingerprint": fingerprint(robot),
            "episodes": [asdict(episode) for episode in episodes],
            "images": writer.images(),
            "skipped": [],
            "statistics": statistics(partial.set_folder),
            "sync": origin.get("sync", {}),
            "provenance": {"software": f"hpt_ros {__version__}", "lerobot": folder.resolve().name},
        }
        text = json.dumps(made, indent=1, sort_keys=True, allow_nan=False) + "\n"
        (partial.set_folder / INDEX).write_text(text)
        sync(partial.set_folder / INDEX)
        partial.commit()
    if progress:
        progress(len(index), len(index))
    return ImportReport(out, len(episodes), episodes[-1].stop)


def _written(
    reader: FrameReader, index: Mapping[int, Mapping[str, Any]], writer: RowsWriter, folder: Path
) -> Iterator[Mapping[str, Any]]:
    """Write episode after episode; yields the row of the table of episodes of each."""
    done = 0
    for number, frames in groupby(reader.frames(), key=lambda frame: int(frame["episode_index"])):
        about = index.get(number)
        if about is None or number != done:
            raise DataError(f"{folder}: frames of episode {number} where {done} is expected", "copy the whole dataset")
        start = writer.rows
        for row in reader.rows(frames, about):
            writer.append(row)
        if writer.rows - start != about["length"]:
            raise DataError(f"{folder}: episode {number} has {writer.rows - start} frames of {about['length']}")
        yield about
        done += 1
    if not done or done != len(index):
        raise DataError(f"{folder}: {done} episodes in the data, {len(index)} in {v3.EPISODES_FOLDER}")


def _origin(folder: Path) -> dict[str, Any]:
    """What `export` stored; empty for a dataset from elsewhere."""
    path = folder / v3.ORIGIN
    if not path.exists():
        return {}
    try:
        origin: dict[str, Any] = json.loads(path.read_text())
        version = origin["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged: {error!r}", "delete it and name the embodiment") from error
    if version != v3.ORIGIN_FORMAT:
        raise DataError(f"{path}: format {version}, expected {v3.ORIGIN_FORMAT}", "delete it and name the embodiment")
    return origin


def _stored_embodiment(folder: Path, origin: Mapping[str, Any]) -> Embodiment:
    if not origin:
        raise DataError(f"{folder} does not say which embodiment it is of", "name one with --embodiment")
    try:
        return embodiment_from(origin["embodiment"])
    except (ConfigError, KeyError) as error:
        raise DataError(f"{folder / v3.ORIGIN}: {error}", "name the embodiment with --embodiment") from error


def _stored_episodes(origin: Mapping[str, Any], index: Mapping[int, Mapping[str, Any]]) -> list[Episode]:
    if not origin:
        return []
    names = {field.name for field in fields(Episode)}
    try:
        episodes = [Episode(**{k: v for k, v in values.items() if k in names}) for values in origin["episodes"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{v3.ORIGIN}: damaged: {error!r}", "delete it and name the embodiment") from error
    lengths = [about["length"] for _, about in sorted(index.items())]
    if [e.stop - e.start for e in episodes] != lengths:
        raise DataError(
            f"{v3.ORIGIN} tells of {len(episodes)} episodes that are not the {len(index)} of the dataset",
            "it was edited after the export: delete that file and name the embodiment",
        )
    return episodes


def _episode(folder: Path, about: Mapping[str, Any], start: int) -> Episode:
    """An episode from elsewhere; datasets of demonstrations hold what succeeded."""
    name = folder.resolve().name
    return Episode(
        start=start,
        stop=start + about["length"],
        score=1.0,
        task=name,
        instruction=" ".join(about.get("tasks") or []),
        operator="",
        termination="",
        software="LeRobot",
        source=f"{name}/{about['episode_index']}",
    )
