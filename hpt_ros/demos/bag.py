"""Recorded episodes as sequences of (stream, message)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from hpt_ros.demos.foreign import Convert, reader_of
from hpt_ros.demos.settings import Outside
from hpt_ros.demos.source import METADATA, ROS1, SUFFIXES, BagSource, open_source, storage_files
from hpt_ros.demos.stamps import Stamped, stamped
from hpt_ros.demos.type_map import TypeMap
from hpt_ros.embodiment import Embodiment, StreamSpec
from hpt_ros.embodiment.schema import COMMAND
from hpt_ros.errors import DataError
from hpt_ros.recording.edits import edit_of
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.streams.cdr import typestore

# Definitions of before that are still read: a command without `intervention`, see `command_positions`.
_BEFORE = {COMMAND: "RIHS01_bf3896fec0180bf8fec74bdf6d675327d2d9817b44170a72d0fed890c97b64c1"}


def find_bags(paths: Iterable[Path]) -> list[Path]:
    """The bags among `paths`; a folder of bags stands for the bags in it, sorted. Hidden folders are never searched.

    A bag is a folder with metadata.yaml or with one storage file (or the numbered ones of a split bag), or a storage file.

    Raises:
        DataError: a path holds no bag.
    """
    bags: list[Path] = []
    for path in paths:
        found = list(_bags_under(path))
        if not found:
            raise DataError(
                f"{path}: no bag here (a folder with {METADATA}, or a {' or '.join(SUFFIXES)} file)",
                "give bags, or a folder that contains bags",
            )
        bags += [bag for bag in found if bag not in bags]
    return bags


def episode_name(path: Path) -> str:
    """Task folder and name of a bag: the same wherever the bags are moved to."""
    return f"{path.resolve().parent.name}/{path.name}"


class EpisodeBag:
    """A readable bag; use it as made by `open_bag`."""

    def __init__(self, path: Path, source: BagSource, metadata: EpisodeMetadata, types: TypeMap) -> None:
        self.path = path
        self._source = source
        self._types = types
        self.edit = edit_of(path)
        self.metadata = metadata

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was unusual about reading it."""
        return self._source.remarks

    @property
    def span_ns(self) -> tuple[int, int]:
        """Receive times of the first message, and just after the last, untrimmed."""
        return self._source.span_ns

    @property
    def duration_s(self) -> float:
        """From the first message to the last, untrimmed."""
        start_ns, end_ns = self.span_ns
        return (end_ns - start_ns) / 1e9

    @property
    def message_count(self) -> int:
        """Of all topics, untrimmed."""
        return self._source.message_count

    @property
    def score(self) -> float:
        """As corrected afterwards, else as given when it was recorded."""
        return self.metadata.score if self.edit.score is None else self.edit.score

    def messages(
        self, embodiment: Embodiment, with_command: bool = True, receive_time: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """(stream key, serialized message) in order of receipt, read as it is consumed; trimmed ends are left out.

        With `receive_time` the messages are stamped with the times at which they were received.

        Raises:
            DataError: a topic is missing or empty, has another type or definition, stamps cannot be used, the file is
                damaged, or all of it is trimmed away.
        """
        return ((key, raw) for key, _, raw in self.stamped(embodiment, with_command, receive_time))

    def stamped(
        self, embodiment: Embodiment, with_command: bool = True, receive_time: bool = False
    ) -> Iterator[Stamped]:
        """`messages` with their stamps, which have been read already.

        Raises:
            DataError: as `messages`.
        """
        return stamped(self.received(embodiment, with_command), self.span_ns[0], receive_time)

    def received(self, embodiment: Embodiment, with_command: bool = True) -> Iterator[tuple[StreamSpec, int, bytes]]:
        """(stream, receive time [ns], serialized message), as `messages` reads them; stamps are not looked at.

        Raises:
            DataError: as `messages`, but for stamps.
        """
        specs = (*embodiment.streams(), embodiment.command_stream()) if with_command else embodiment.streams()
        converted = {spec.topic: convert for spec in specs if (convert := self._check(spec))}
        by_topic = {spec.topic: spec for spec in specs}
        found = self._source.messages(by_topic.keys(), *self._kept_ns())
        return (
            (by_topic[topic], receive_ns, converted[topic](raw) if topic in converted else raw)
            for topic, receive_ns, raw in found
        )

    def _kept_ns(self) -> tuple[int | None, int | None]:
        """Receive times that the trimming leaves: from, and up to but not including; None where nothing is trimmed."""
        edit = self.edit
        start_ns, stop_ns = self.span_ns
        start_ns += round(edit.trim_start_s * 1e9)
        stop_ns -= round(edit.trim_end_s * 1e9)
        if edit.trimmed and start_ns >= stop_ns:
            raise DataError(f"nothing is left of {self.duration_s:.1f} s: {edit}", "trim less: hpt-ros bags trim")
        return start_ns if edit.trim_start_s else None, stop_ns if edit.trim_end_s else None

    def _check(self, spec: StreamSpec) -> Convert | None:
        """How messages become those of the stream; None: they are."""
        connections = [c for c in self._source.connections if c.topic == spec.topic]
        if sum(c.msgcount for c in connections) == 0:
            raise DataError(f"no message on {spec.topic} ({spec.key})", self._other_topics(spec))
        convert = None
        for connection in connections:
            msgtype, convert = reader_of(connection, self._source.ros1, self._types)
            if msgtype != spec.msgtype:
                raise DataError(
                    f"{spec.topic} ({spec.key}) holds {msgtype}, expected {spec.msgtype}", self._other_topics(spec)
                )
            if self._types.of(connection.topic, connection.msgtype):
                continue
            if _digest(connection) not in ("", typestore().hash_rihs01(spec.msgtype), _BEFORE.get(spec.msgtype)):
                raise DataError(
                    f"{spec.topic} ({spec.key}) was recorded with another definition of {spec.msgtype}",
                    "record with the messages that this package was built with",
                )

        return convert

    def _other_topics(self, spec: StreamSpec) -> str:
        same = {c.topic for c in self._source.connections if c.msgtype == spec.msgtype and c.msgcount} - {spec.topic}
        known = f"; the bag has {spec.msgtype} on {', '.join(sorted(same))}" if same else ""
        return f"record it, or correct the topic in the embodiment{known}"


@contextmanager
def open_bag(
    path: Path, embodiment: Embodiment | None = None, outside: Outside | None = None, types: TypeMap | None = None
) -> Iterator[EpisodeBag]:
    """Open a bag for reading. `embodiment` and `outside` describe a bag that another recorder made, `types` its messages.

    Raises:
        DataError: it is no bag, its metadata or index is damaged, or it holds no episode of this package and is not
            described; a bag of ROS 1 whose types are not mapped.
    """
    source = open_source(path)
    try:
        if source.ros1 and types is None:
            raise DataError(
                "a bag of ROS 1: how its messages are read must be said",
                "only hpt-ros convert reads it, with --type-map FILE (docs/convert.md)",
            )
        yield EpisodeBag(path, source, _facts(source, embodiment, outside), types or TypeMap())
    finally:
        source.close()


def _facts(source: BagSource, embodiment: Embodiment | None, outside: Outside | None) -> EpisodeMetadata:
    if any(key.startswith("hpt_ros.") for key in source.custom):
        return EpisodeMetadata.from_custom_data(source.custom)
    if embodiment is None or outside is None:
        raise DataError(
            "the bag was not recorded by hpt_ros: it tells neither embodiment nor task nor score",
            "describe it: hpt-ros convert --embodiment E --task T --score 1",
        )
    return EpisodeMetadata(
        embodiment, outside.task, outside.instruction, "", outside.score, termination="", software="not hpt_ros"
    )


def _digest(connection: Connection) -> str:
    """RIHS01 hash of the type as recorded; empty where the bag tells neither hash nor definition."""
    if connection.digest or connection.msgdef.format != MessageDefinitionFormat.MSG:
        return connection.digest
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        return store.hash_rihs01(connection.msgtype)
    except (TypesysError, KeyError):
        return ""


def _bags_under(path: Path) -> Iterator[Path]:
    if path.is_file():
        if path.suffix in SUFFIXES:
            yield path
    elif (path / METADATA).is_file():
        yield path
    elif path.is_dir():
        files = storage_files(path)
        if _is_one_bag(path, files):
            yield path
            return
        for child in sorted(path.iterdir()):
            if child in files or (child.is_dir() and not child.name.startswith(".")):
                yield from _bags_under(child)


def _is_one_bag(folder: Path, files: list[Path]) -> bool:
    """One file and nothing else, or the numbered parts that rosbag2 names after the folder; others are bags of their own."""
    numbered = all(file.stem.rpartition("_")[0] == folder.name and file.stem[-1].isdigit() for file in files)
    parts = numbered and not any(file.suffix == ROS1 for file in files)  # whose parts do not say what they belong to
    alone = not any(child.is_dir() and not child.name.startswith(".") for child in folder.iterdir())
    return bool(files) and (parts or (alone and len(files) == 1))
