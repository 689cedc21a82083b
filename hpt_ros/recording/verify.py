"""Is a recording whole? Everything that can be told from the files alone is checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2 import Reader, ReaderError

from hpt_ros.embodiment import fingerprint
from hpt_ros.errors import DataError, StreamError
from hpt_ros.recording.mcap_records import Message, walk
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.streams.cdr import header_stamp_ns

_MAX_PROBLEMS = 20  # of one bag; one disordered topic would fill the screen


@dataclass(frozen=True)
class Verdict:
    """What was found in one bag; no problems means that it is whole."""

    bag: Path
    messages: int
    problems: tuple[str, ...]


def verify(bag: Path) -> Verdict:
    """Read a bag from end to end: checksums of all chunks, counts, order of the stamps, fingerprint, end mark.

    Receive times must not go back within a topic, nor header stamps within a topic of the embodiment.
    """
    counts: Counter[str] = Counter()
    problems = []
    for problem in _problems(bag, counts):
        problems.append(problem)
        if len(problems) == _MAX_PROBLEMS:
            problems.append("more problems are not listed")
            break
    return Verdict(bag, counts.total(), tuple(problems))


def _problems(bag: Path, counts: Counter[str]) -> Iterator[str]:
    try:
        with Reader(bag) as reader:
            custom = reader.storage.metadata.custom or {}
            stated = {connection.topic: connection.msgcount for connection in reader.connections}
            files = [Path(str(path)) for path in bag.glob("*.mcap")]
        metadata = EpisodeMetadata.from_custom_data(custom)
    except (ReaderError, OSError, DataError) as error:
        yield f"does not open: {error}"
        return
    if custom.get("hpt_ros.fingerprint") != fingerprint(metadata.embodiment):
        yield f"fingerprint {custom.get('hpt_ros.fingerprint')}, the embodiment's is {fingerprint(metadata.embodiment)}"
    streams = {stream.topic for stream in (*metadata.embodiment.streams(), metadata.embodiment.command_stream())}
    for path in files:
        try:
            yield from _disorder(path, streams, counts)
        except (DataError, OSError) as error:
            yield f"{path.name}: {error}"
            return
    for topic in sorted({*stated, *metadata.topics, *counts}):
        claims = {"index": stated.get(topic, 0), "metadata": round(metadata.topics.get(topic, {}).get("count", 0))}
        for where, count in claims.items():
            if count != counts[topic]:
                yield f"{topic}: {counts[topic]} messages, the {where} says {count}"


def _disorder(path: Path, streams: set[str], counts: Counter[str]) -> Iterator[str]:
    received: dict[str, int] = {}
    stamped: dict[str, int] = {}
    for item in walk(path):
        if not isinstance(item, Message):
            continue
        topic = item.channel.topic
        counts[topic] += 1
        if item.log_ns < received.get(topic, 0):
            yield f"{topic}: message {counts[topic]} was received {(received[topic] - item.log_ns) / 1e6:.3f} ms before the one before it"
        received[topic] = item.log_ns
        if topic not in streams:
            continue
        try:
            stamp_ns = header_stamp_ns(item.raw)
        except StreamError as error:
            yield f"{topic}: message {counts[topic]}: {error.message}"
            continue
        if stamp_ns < stamped.get(topic, 0):
            yield f"{topic}: message {counts[topic]} is stamped {(stamped[topic] - stamp_ns) / 1e6:.3f} ms before the one before it"
        stamped[topic] = stamp_ns
