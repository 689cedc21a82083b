"""Corrections of recorded episodes: bags stay as they are, what a person decides later lies beside them.

`<task>/edits.json` holds, by the name of the bag, what `Edit` has; files are replaced whole and synced.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hpt_ros.configuration import check, from_mapping
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.paths import sync
from hpt_ros.recording.session import SCORES

FILE = "edits.json"
_VERSION = 1


@dataclass(frozen=True)
class Edit:
    """What a person decided about an episode: leave it out, another score, seconds cut off at the ends, and why."""

    excluded: bool = False
    score: float | None = None
    trim_start_s: float = 0.0
    trim_end_s: float = 0.0
    reason: str = ""

    def __post_init__(self) -> None:
        check(self.score is None or self.score in SCORES, "score", self.score, "0, 0.5 or 1")
        check(self.trim_start_s >= 0, "trim_start_s", self.trim_start_s, ">= 0")
        check(self.trim_end_s >= 0, "trim_end_s", self.trim_end_s, ">= 0")

    def __str__(self) -> str:
        parts = [
            "excluded" if self.excluded else "",
            f"score {self.score:g}" if self.score is not None else "",
            f"trimmed by {self.trim_start_s:g} s and {self.trim_end_s:g} s" if self.trimmed else "",
            self.reason,
        ]
        return ", ".join(part for part in parts if part)

    @property
    def trimmed(self) -> bool:
        """Whether something is cut off."""
        return bool(self.trim_start_s or self.trim_end_s)

    def to_mapping(self) -> dict[str, Any]:
        """What differs from no edit at all, as plain data."""
        return {key: value for key, value in asdict(self).items() if value != getattr(_NONE, key)}


_NONE = Edit()


def edit_of(bag: Path) -> Edit:
    """The correction of a bag; an Edit that changes nothing if there is none.

    Raises:
        DataError: the edits file beside the bag cannot be read.
    """
    return _load(bag.resolve().parent).get(bag.resolve().name, _NONE)


def change_edit(bag: Path, **changes: Any) -> Edit:
    """Change fields of a bag's Edit, durably; returns the whole of it.

    Raises:
        ConfigError: a value out of range.
        DataError: the edits file cannot be read.
    """
    bag = bag.resolve()
    with _held(bag.parent):
        edits = _load(bag.parent)
        edits[bag.name] = replace(edits.get(bag.name, _NONE), **changes)
        _store(bag.parent, edits)
    return edits[bag.name]


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Two commands at a time must not undo each other's edits."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _load(folder: Path) -> dict[str, Edit]:
    path = folder / FILE
    try:
        data = json.loads(path.read_text())
        if data["version"] != _VERSION:
            raise DataError(f"{path}: version {data['version']}, expected {_VERSION}", "use the version that wrote it")
        return {name: from_mapping(Edit, values, name) for name, values in data["episodes"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(f"{path} cannot be read: {error}", "correct it, or move it away") from error


def _store(folder: Path, edits: dict[str, Edit]) -> None:
    episodes = {name: values for name, edit in sorted(edits.items()) if (values := edit.to_mapping())}
    new = folder / f".{FILE}.new"
    new.write_text(json.dumps({"version": _VERSION, "episodes": episodes}, indent=1) + "\n")
    sync(new)
    new.replace(folder / FILE)
    sync(folder)
