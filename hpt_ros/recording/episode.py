"""One episode on its way to disk."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rosbags.interfaces import Connection, MessageDefinitionFormat, Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from hpt_ros import __version__
from hpt_ros.paths import sync
from hpt_ros.recording.mcap_writer import McapWriter
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.recording.tally import TopicTally
from hpt_ros.streams.cdr import typestore

PARTIAL_SUFFIX = ".partial"
QUARANTINE = ".quarantine"
NOTES = "hpt_ros.episode"
"""Name of the metadata record at the head of the file: what is known of an episode before it ends."""


@functools.cache
def _definition(msgtype: str) -> tuple[str, str]:
    """Text and RIHS01 hash of a type; the first time takes a tenth of a second."""
    return typestore().generate_msgdef(msgtype, ros_version=2)[0], typestore().hash_rihs01(msgtype)


def prepare_types(msgtypes: Iterable[str]) -> None:
    """Look the definitions up now, so that the start of an episode does not wait for it."""
    for msgtype in msgtypes:
        if msgtype in typestore().fielddefs:
            _definition(msgtype)


class _Storage:
    """Our MCAP writer in the place of rosbags', which goes on writing metadata.yaml, definitions and hashes."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        self.path = path / f"{path.name}.mcap"
        self.mcap = McapWriter(self.path, f"hpt_ros {__version__}", compression == CompressionMode.STORAGE)
        self._schemas: dict[str, int] = {}

    def add_msgtype(self, connection: Connection) -> None:
        encoding = "ros2msg" if connection.msgdef.format == MessageDefinitionFormat.MSG else "ros2idl"
        self._schemas[connection.msgtype] = self.mcap.add_schema(connection.msgtype, encoding, connection.msgdef.data)

    def add_connection(self, connection: Connection, offered_qos_profiles: str) -> None:
        self.mcap.add_channel(
            self._schemas[connection.msgtype], connection.topic, "cdr", {"offered_qos_profiles": offered_qos_profiles}
        )

    def write(self, connection: Connection, timestamp: int, data: bytes | memoryview) -> None:
        self.mcap.append(connection.id, 0, timestamp, timestamp, bytes(data))

    def close(self, version: int, metadata: str) -> None:
        self.mcap.close("rosbag2", {"serialized_metadata": metadata})

    def abort(self) -> None:
        self.mcap.abort()


class _BagWriter(Writer):
    STORAGE_PLUGINS = {StoragePlugin.MCAP: _Storage}  # noqa: RUF012 -- as in the base class


@dataclass
class _Topic:
    connection: Connection
    tally: TopicTally


class EpisodeWriter:
    """Writes serialized messages to an MCAP bag that appears as `folder/name` when it is complete, or never.

    Until then it lies in `folder/.name.partial/name`, so that the files have their final names from the start. What
    `about` says stands at the head of the file, so that a crash leaves no nameless data.

    Raises:
        OSError: from any method, when the disk refuses.
        FileExistsError: an episode of that name is being written.
    """

    def __init__(self, folder: Path, name: str, about: EpisodeMetadata, compress: bool = False) -> None:
        self.path = folder / name
        self._partial = folder / f".{name}{PARTIAL_SUFFIX}"
        self._partial.mkdir(parents=True)
        self._writer = _BagWriter(self._partial / name, version=9, storage_plugin=StoragePlugin.MCAP)
        if compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        storage = self._writer.storage
        assert isinstance(storage, _Storage)
        self._mcap = storage.mcap
        self._mcap.write_notes(NOTES, about.to_custom_data())
        self._topics: dict[str, _Topic] = {}

    @property
    def tallies(self) -> dict[str, TopicTally]:
        """What was written, by topic."""
        return {name: topic.tally for name, topic in self._topics.items()}

    @property
    def size_bytes(self) -> int:
        """Of all messages written."""
        return sum(topic.tally.bytes for topic in self._topics.values())

    @property
    def waiting_bytes(self) -> int:
        """Not on the disk yet, but for the chunk that is being filled."""
        return self._mcap.waiting_bytes

    def has_topic(self, topic: str) -> bool:
        """Whether the topic was announced."""
        return topic in self._topics

    def add_topic(self, topic: str, msgtype: str, offered_qos: Sequence[Qos] = (), rate_hz: float = 0.0) -> None:
        """Announce a topic, with the rate that is expected of it (0: none); one without messages still stands in the bag."""
        definition, digest = _definition(msgtype)
        connection = self._writer.add_connection(
            topic, msgtype, msgdef=definition, rihs01=digest, offered_qos_profiles=list(offered_qos)
        )
        self._topics[topic] = _Topic(connection, TopicTally(msgtype, rate_hz))

    def write(
        self,
        topic: str,
        receive_ns: int,
        raw: bytes,
        publish_ns: int | None = None,
        sequence: int = 0,
        publisher: bytes = b"",
    ) -> None:
        """Append a message that was received at `receive_ns` (ROS clock) and sent at `publish_ns`, if that is known.

        `sequence` is the number that the publisher with the identifier `publisher` gave it, 0 where it is not known.
        """
        entry = self._topics[topic]
        entry.tally.add(receive_ns, raw, sequence, publisher)
        self._mcap.append(entry.connection.id, sequence, receive_ns, publish_ns or receive_ns, raw)

    def check(self) -> None:
        """Raise at once what the disk has answered to what was handed to it."""
        self._mcap.check()

    def commit(self, metadata: EpisodeMetadata, target: Path | None = None) -> Path:
        """Complete the bag, put it on the disk for good and give it its name; returns its path, or `target` if given."""
        topics = {name: topic.tally.statistics() for name, topic in self._topics.items()}
        for key, value in replace(metadata, topics=topics).to_custom_data().items():
            self._writer.set_custom_data(key, value)
        for topic in self._topics.values():
            self._writer.counts[topic.connection.id] = topic.tally.count
        written = [topic.tally for topic in self._topics.values() if topic.tally.count]
        self._writer.min_timestamp = min((tally.first_ns for tally in written), default=0)
        self._writer.max_timestamp = max((tally.last_ns for tally in written), default=0)
        self._writer.close()
        bag = self._partial / self.path.name
        for path in (*bag.iterdir(), bag):
            sync(path)
        return move_out(self._partial, target or self.path)

    def discard(self) -> None:
        """Delete what was written."""
        self._writer.abort()
        shutil.rmtree(self._partial)

    def abandon(self) -> Path:
        """Leave what was written where it lies, for a later salvage; returns where."""
        self._writer.abort()
        return self._partial


def episode_name(partial: Path) -> str:
    """The name that the episode in a `.partial` folder would have had."""
    return partial.name.removeprefix(".").removesuffix(PARTIAL_SUFFIX)


def move_out(partial: Path, target: Path) -> Path:
    """Rename the only bag in `partial` to `target` and remove the empty folder, durably.

    Raises:
        FileExistsError: `target` exists.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists, not overwriting")
    target.parent.mkdir(exist_ok=True)
    bag = partial / episode_name(partial)
    if bag.exists():
        bag.rename(target)
    partial.rmdir()
    for folder in (partial.parent, target.parent, target.parent.parent):
        sync(folder)
    return target
