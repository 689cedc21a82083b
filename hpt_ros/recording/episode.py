"""One episode on its way to disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin, Writer

from hpt_ros.paths import sync
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.streams.cdr import typestore

PARTIAL_SUFFIX = ".partial"


@dataclass
class _Channel:
    """A topic in the bag, with what was written of it."""

    connection: Connection
    count: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def statistics(self) -> dict[str, float]:
        span_ns = self.last_ns - self.first_ns
        return {
            "count": self.count,
            "rate_hz": round((self.count - 1) * 1e9 / span_ns, 3) if span_ns > 0 else 0.0,
        }


class EpisodeWriter:
    """Writes serialized messages to an MCAP bag that appears as `folder/name` when it is complete, or never.

    Until then it lies in `folder/.name.partial/name`, so that the files have their final names from the start.

    Raises:
        OSError: from any method, when the disk refuses.
        FileExistsError: an episode of that name is being written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self._partial = folder / f".{name}{PARTIAL_SUFFIX}"
        self._partial.mkdir(parents=True)
        self._writer = Writer(self._partial / name, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._channels: dict[str, _Channel] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Messages written, by topic."""
        return {topic: channel.count for topic, channel in self._channels.items()}

    def has_topic(self, topic: str) -> bool:
        """Whether the topic was announced."""
        return topic in self._channels

    def add_topic(self, topic: str, msgtype: str, offered_qos: Sequence[Qos] = ()) -> None:
        """Announce a topic; a topic with no message still stands in the bag."""
        connection = self._writer.add_connection(
            topic, msgtype, typestore=typestore(), offered_qos_profiles=list(offered_qos)
        )
        self._channels[topic] = _Channel(connection)

    def write(self, topic: str, receive_ns: int, raw: bytes) -> None:
        """Append a message that was received at `receive_ns` (ROS clock)."""
        channel = self._channels[topic]
        self._writer.write(channel.connection, receive_ns, raw)
        channel.first_ns = channel.first_ns or receive_ns
        channel.last_ns = receive_ns
        channel.count += 1

    def commit(self, metadata: EpisodeMetadata) -> Path:
        """Complete the bag, put it on the disk for good and give it its name; returns its path."""
        topics = {topic: channel.statistics() for topic, channel in self._channels.items()}
        for key, value in replace(metadata, topics=topics).to_custom_data().items():
            self._writer.set_custom_data(key, value)
        self._writer.close()
        bag = self._partial / self.path.name
        for path in (*bag.iterdir(), bag):
            sync(path)
        move_out(self._partial, self.path)
        sync(self.path.parent.parent)
        return self.path

    def discard(self) -> None:
        """Delete what was written."""
        self._writer.abort()
        shutil.rmtree(self._partial)

    def quarantine(self) -> Path:
        """Keep what was written, out of the way; returns where."""
        self._writer.abort()
        return quarantine(self._partial)


def quarantine(partial: Path) -> Path:
    """Move the bag of a `.partial` folder to `.quarantine` beside it; returns where it lies then."""
    name = partial.name.removeprefix(".").removesuffix(PARTIAL_SUFFIX)
    target = partial.parent / ".quarantine" / name
    target.parent.mkdir(exist_ok=True)
    return move_out(partial, target)


def move_out(partial: Path, target: Path) -> Path:
    """Rename the only bag in `partial` to `target` and remove the empty folder, durably.

    Raises:
        FileExistsError: `target` exists.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists, not overwriting")
    bag = partial / target.name
    if bag.exists():
        bag.rename(target)
    partial.rmdir()
    sync(target.parent)
    return target
