"""Recorded episodes as sequences of (stream, message)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rosbags.rosbag2 import Reader, ReaderError

from hpt_ros.embodiment import Embodiment, StreamSpec
from hpt_ros.errors import DataError
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.streams.cdr import typestore


def find_bags(paths: Iterable[Path]) -> list[Path]:
    """The bags among `paths`; a folder of bags stands for the bags in it, sorted. Hidden folders are never searched.

    Raises:
        DataError: a path holds no bag.
    """
    bags: list[Path] = []
    for path in paths:
        found = list(_bags_under(path))
        if not found:
            raise DataError(
                f"{path}: no bag here (a folder with metadata.yaml)", "give bags, or a folder that contains bags"
            )
        bags += [bag for bag in found if bag not in bags]
    return bags


def episode_name(path: Path) -> str:
    """Task folder and name of a bag: the same wherever the bags are moved to."""
    return f"{path.resolve().parent.name}/{path.name}"


class EpisodeBag:
    """A readable bag; use it as made by `open_bag`."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self._reader = reader
        custom = reader.storage.metadata.custom
        self.metadata = EpisodeMetadata.from_custom_data(custom or {})

    def messages(self, embodiment: Embodiment) -> Iterator[tuple[str, bytes]]:
        """(stream key, serialized message) in order of receipt, read as it is consumed.

        Raises:
            DataError: a topic is missing or empty, has another type or definition, or the file is damaged.
        """
        keys = {}
        for spec in (*embodiment.streams(), embodiment.command_stream()):
            keys[spec.topic] = spec.key
            self._check(spec)
        connections = [c for c in self._reader.connections if c.topic in keys]
        try:
            for connection, _, raw in self._reader.messages(connections):
                yield keys[connection.topic], raw
        except (ReaderError, OSError) as error:
            raise DataError(f"the bag's data is damaged: {error}") from error

    def _check(self, spec: StreamSpec) -> None:
        connections = [c for c in self._reader.connections if c.topic == spec.topic]
        if sum(c.msgcount for c in connections) == 0:
            raise DataError(
                f"no message on {spec.topic} ({spec.key})", "record it, or correct the topic in the embodiment"
            )
        for connection in connections:
            if connection.msgtype != spec.msgtype:
                raise DataError(f"{spec.topic} ({spec.key}) holds {connection.msgtype}, expected {spec.msgtype}")
            if connection.digest and connection.digest != typestore().hash_rihs01(spec.msgtype):
                raise DataError(f"{spec.topic} ({spec.key}) was recorded with another definition of {spec.msgtype}")


@contextmanager
def open_bag(path: Path) -> Iterator[EpisodeBag]:
    """Open a bag for reading.

    Raises:
        DataError: the folder is no bag, its metadata or index is damaged, or it holds no episode of this package.
    """
    try:
        reader = Reader(path)
        reader.open()
    except (ReaderError, OSError) as error:
        raise DataError(f"not a readable bag: {error}") from error
    try:
        yield EpisodeBag(path, reader)
    finally:
        reader.close()


def _bags_under(path: Path) -> Iterator[Path]:
    if (path / "metadata.yaml").is_file():
        yield path
    elif path.is_dir():
        for child in sorted(path.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from _bags_under(child)
