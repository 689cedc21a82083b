"""The files of a bag, whatever wrote them: rosbag2 folders, folders without metadata.yaml, single files."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import yaml
from mcap.exceptions import McapError
from mcap.reader import make_reader
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader

from hpt_ros.demos.mcap_chunks import FastReader
from hpt_ros.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROS1 = ".bag"
SUFFIXES = (".mcap", ".db3", ROS1)
METADATA = "metadata.yaml"
_ZSTD = b"\x28\xb5\x2f\xfd"
_HEAD_BYTES, _TAIL_BYTES = (
    4096,
    65536,
)  # an MCAP's tail holds the checksums of its chunks, a database's head its counter


class BagSource:
    """An open bag. `custom`: the recorder's own facts; `remarks`: what was done to read it, for the person to know."""

    def __init__(
        self, readers: list[Reader | Ros1Reader], custom: Mapping[str, str], remarks: tuple[str, ...] = ()
    ) -> None:
        self._readers = readers
        self.custom = custom
        self.remarks = remarks

    @property
    def ros1(self) -> bool:
        """Whether its messages are serialized as ROS 1 does."""
        return any(isinstance(reader, Ros1Reader) for reader in self._readers)

    @property
    def connections(self) -> list[Connection]:
        """Of all files: a topic of a split bag stands there once per file."""
        return [connection for reader in self._readers for connection in reader.connections]

    @property
    def message_count(self) -> int:
        """Of all topics."""
        return sum(reader.message_count for reader in self._readers)

    @property
    def span_ns(self) -> tuple[int, int]:
        """Receive times of the first message, and just after the last."""
        filled = [reader for reader in self._readers if reader.message_count]
        if not filled:
            return 0, 0
        return min(reader.start_time for reader in filled), max(reader.end_time for reader in filled)

    def messages(
        self, topics: Collection[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[tuple[str, int, bytes]]:
        """(topic, receive time [ns], serialized message) from `start_ns` up to but not including `stop_ns`.

        Raises:
            DataError: the bytes are damaged.
        """
        for reader in self._readers:
            wanted = [connection for connection in reader.connections if connection.topic in topics]
            if not wanted:
                continue
            try:
                for connection, receive_ns, raw in reader.messages(wanted, start_ns, stop_ns):
                    if not self.ros1 and raw[:4] == _ZSTD:  # CDR never begins so: compressed one by one, untold
                        yield connection.topic, receive_ns, zstd.decompress(raw)
                    else:
                        yield connection.topic, receive_ns, raw
            except Exception as error:  # as in _opened
                raise DataError(
                    f"the bag's data is damaged: {error}", "exclude the bag, or trim the damaged end: hpt-ros bags"
                ) from error

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers:
            reader.close()


def open_source(path: Path) -> BagSource:
    """Open a bag folder or a single file.

    Raises:
        DataError: it is no bag, or is damaged.
    """
    if (path / METADATA).is_file():
        readers = _opened([path])
        assert isinstance(readers[0], Reader), "a folder with metadata.yaml"
        custom: Mapping[str, str] = readers[0].storage.metadata.custom or {}
        return BagSource(readers, custom)
    files = [path] if path.is_file() else storage_files(path)
    if files and files[0].suffix == ROS1:
        return BagSource(_opened(files), {}, (f"ROS 1: read from {files[0].name}",))
    if not files:
        raise DataError(f"not a bag: no {METADATA} and no {' or '.join(SUFFIXES)} file", "give the bag's folder")
    remarks = () if path.is_file() else (f"no {METADATA}: read from {', '.join(file.name for file in files)}",)
    return BagSource(_opened(files), _embedded_custom(files[-1]), remarks)


def storage_files(folder: Path) -> list[Path]:
    """The storage files that lie in a folder, in the order of their numbers."""
    files = [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()]
    return sorted(files, key=lambda path: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", path.name)])


def content_hash(path: Path) -> str:
    """Tells bags and their versions apart without reading all of them: SHA-256 of metadata, names, sizes, heads and tails."""
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as data:
            if file.name == METADATA:
                digest.update(data.read())
                continue
            digest.update(data.read(_HEAD_BYTES))
            data.seek(max(0, size - _TAIL_BYTES))
            digest.update(data.read())
    return digest.hexdigest()


def _opened(paths: list[Path]) -> list[Reader | Ros1Reader]:
    readers: list[Reader | Ros1Reader] = []
    try:
        for path in paths:
            readers.append(Ros1Reader(path) if path.suffix == ROS1 else FastReader(path))
            readers[-1].open()
    except Exception as error:  # the formats are foreign, and rosbags' parsers raise what comes
        for reader in readers[:-1]:
            reader.close()
        raise DataError(
            f"not a readable bag: {error}",
            f"if {paths[len(readers) - 1].name} was cut off, {_recovery(paths[len(readers) - 1])} makes what is left of it readable",
        ) from error
    return readers


def _recovery(path: Path) -> str:
    return (
        "`rosbag reindex`"
        if path.suffix == ROS1
        else f"`hpt-ros bags salvage {path}` (other recorders: `mcap recover`)"
    )


def _embedded_custom(file: Path) -> Mapping[str, str]:
    """The custom data in the copy of metadata.yaml that recorders put into the storage file; empty without one."""
    try:
        text = _mcap_metadata(file) if file.suffix == ".mcap" else _sqlite_metadata(file)
        data = yaml.safe_load(text)
        found = data.get("rosbag2_bagfile_information", data).get("custom_data") or {}
    except (McapError, sqlite3.Error, yaml.YAMLError, AttributeError):
        return {}
    return {str(key): str(value) for key, value in found.items()}


def _mcap_metadata(file: Path) -> str:
    with file.open("rb") as data:
        records = {record.name: record.metadata for record in make_reader(data).iter_metadata()}
    return records.get("rosbag2", {}).get("serialized_metadata", "")


def _sqlite_metadata(file: Path) -> str:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?immutable=1", uri=True)) as database:
        row = database.execute("SELECT metadata FROM metadata ORDER BY id DESC").fetchone()
    return str(row[0]) if row else ""
