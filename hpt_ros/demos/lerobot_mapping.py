"""Which column of a LeRobot dataset is which value of an embodiment: by name, never by position."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.demos import lerobot_format as v3
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError

_RENAME = "map their name to ours with --rename THEIRS=OURS"
_IMAGE_DTYPES = ("image", "video")


@dataclass(frozen=True)
class Vector:
    """A feature, and which of its entries make up our vector, in our order."""

    key: str
    entries: tuple[int, ...]


@dataclass(frozen=True)
class Mapped:
    """Where each part of an observation and the command come from.

    `command` is None for a dataset that was not exported from here: commands follow from `action`. The same for `tick` and
    `intervention`.
    """

    state: Vector
    action: Vector
    command: Vector | None
    tick: str | None
    intervention: str | None
    images: dict[str, str]
    depth: dict[str, str]
    videos: frozenset[str]


def read_info(folder: Path) -> dict[str, Any]:
    """meta/info.json.

    Raises:
        DataError: there is none, it cannot be read, or it is of another version of the format.
    """
    path = folder / v3.INFO
    try:
        info: dict[str, Any] = json.loads(path.read_text())
        version = str(info["codebase_version"])
        missing = [key for key in ("fps", "features", "data_path", "total_frames") if key not in info]
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no {v3.INFO}", "give the folder of a LeRobot dataset") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the description of a LeRobot dataset: {error!r}") from error
    if not version.startswith("v3."):
        raise DataError(
            f"{folder}: LeRobot format {version}, expected {v3.CODEBASE_VERSION}",
            "convert it first: python -m lerobot.datasets.v30.convert_dataset_v21_to_v30",
        )
    if missing:
        raise DataError(f"{path}: no {', '.join(missing)}")
    return info


def map_features(info: Mapping[str, Any], embodiment: Embodiment, rename: Mapping[str, str]) -> Mapped:
    """Find every value that `embodiment` needs; `rename` says ours for their names, of features and of their entries.

    Raises:
        DataError: a feature or an entry is missing, is of another kind or shape, the rate differs, or a name in `rename`
            stands nowhere.
    """
    if info["fps"] != embodiment.policy.rate_hz:
        raise DataError(
            f"the dataset has {info['fps']:g} frames per second, policy.rate_hz of {embodiment.name} is {embodiment.policy.rate_hz:g}",
            "import with an embodiment of that rate: frames are not resampled",
        )
    found = _Features(info["features"], rename)
    command = found.vector(v3.COMMAND, embodiment.command_names) if found.has(v3.COMMAND) else None
    return Mapped(
        state=found.vector(v3.STATE, embodiment.state_names),
        action=found.vector(v3.ACTION, embodiment.command_names),
        command=command,
        tick=found.key(v3.TICK) if found.has(v3.TICK) else None,
        intervention=found.key(v3.INTERVENTION) if found.has(v3.INTERVENTION) else None,
        images={c.name: found.image(v3.image_key(c.name)) for c in embodiment.cameras},
        depth={c.name: found.depth(v3.depth_key(c.name), c.size_px) for c in embodiment.depth},
        videos=frozenset(key for key, feature in info["features"].items() if feature["dtype"] == "video"),
    )


class _Features:
    """The features of info.json under our names."""

    def __init__(self, features: Mapping[str, Any], rename: Mapping[str, str]) -> None:
        self._features = features
        self._rename = rename
        self._theirs = {rename.get(key, key): key for key in features}
        known = set(features).union(*(_names(feature) for feature in features.values()))
        unknown = [name for name in rename if name not in known]
        if unknown:
            raise DataError(f"--rename {', '.join(unknown)}: no such feature or entry; there are {_list(features)}")

    def has(self, ours: str) -> bool:
        return ours in self._theirs

    def key(self, ours: str) -> str:
        if ours not in self._theirs:
            raise DataError(f"no feature {ours}; there are {_list(self._features)}", _RENAME)
        return self._theirs[ours]

    def vector(self, ours: str, wanted: tuple[str, ...]) -> Vector:
        key = self.key(ours)
        names = [self._rename.get(name, name) for name in _names(self._features[key])]
        if not names:
            raise DataError(
                f"feature {key} does not name its {self._features[key]['shape']} entries",
                f"write them into {v3.INFO}: features.{key}.names, in the order of the data",
            )
        missing = [name for name in wanted if names.count(name) != 1]
        if missing:
            raise DataError(f"feature {key} has no single {', '.join(missing)}; it has {_list(names)}", _RENAME)
        return Vector(key, tuple(names.index(name) for name in wanted))

    def image(self, ours: str) -> str:
        key = self.key(ours)
        self._require(key, self._features[key]["dtype"] in _IMAGE_DTYPES, " or ".join(_IMAGE_DTYPES))
        return key

    def depth(self, ours: str, size_px: tuple[int, int]) -> str:
        key = self.key(ours)
        feature = self._features[key]
        fits = feature["dtype"] == "uint16" and list(feature["shape"]) == list(size_px)
        self._require(key, fits, f"uint16 [mm] of shape {list(size_px)}")
        return key

    def _require(self, key: str, fits: bool, expected: str) -> None:
        if not fits:
            feature = self._features[key]
            raise DataError(f"feature {key} is {feature['dtype']} of shape {feature['shape']}, expected {expected}")


def _names(feature: Mapping[str, Any]) -> list[str]:
    """Names of the entries: a list, or older `{"motors": [...]}`; empty without names."""
    names = feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        (names,) = names.values()
    return [str(name) for name in names] if isinstance(names, list) else []


def _list(names: Any) -> str:
    return ", ".join(map(str, names))
