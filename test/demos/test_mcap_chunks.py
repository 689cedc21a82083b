"""The fast reader of MCAP chunks gives what rosbags' own reader gives."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer
from rosbags.rosbag2 import Reader, ReaderError

from hpt_ros.demos.mcap_chunks import FastReader

TOPICS = ("/a", "/b", "/c")


def write(path: Path, seed: int, compression: CompressionType, count: int = 120) -> None:
    """Messages in many chunks that overlap, with equal times, small and large."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=3000, compression=compression)
        writer.start(profile="ros2", library="")
        schema = writer.register_schema("std_msgs/msg/Empty", "ros2msg", b"")
        channels = [writer.register_channel(topic, "cdr", schema) for topic in TOPICS]
        for number in range(count):
            log_ns = 1000 + 10 * number + chance.choice([0, 0, -200, 35])
            size = chance.choice([4, 60, 900, 20_000])
            data = b"\0\1\0\0" + bytes([number]) * size
            writer.add_message(chance.choice(channels[: chance.choice([1, 3])]), log_ns, data, log_ns)
        writer.finish()


def read(kind: type[Reader], path: Path, topics: tuple[str, ...], *span: int | None) -> list[tuple[str, int, bytes]]:
    with kind(path) as reader:
        wanted = [connection for connection in reader.connections if connection.topic in topics]
        return [(c.topic, t, bytes(raw)) for c, t, raw in reader.messages(wanted, *span)]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    compression=st.sampled_from(list(CompressionType)),
    topics=st.sampled_from([TOPICS, ("/b",), ("/a", "/c")]),
    span=st.tuples(st.none() | st.integers(900, 1500), st.none() | st.integers(1500, 2400)),
)
def test_messages_and_their_order_are_those_of_rosbags(seed, compression, topics, span) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bag.mcap"
        write(path, seed, compression)
        found = read(FastReader, path, topics, *span)
        assert found == read(Reader, path, topics, *span)
        assert len(found) > 0 or span != (None, None)


def test_damage_is_found(tmp_path) -> None:
    path = tmp_path / "bag.mcap"
    write(path, 1, CompressionType.NONE)
    whole = path.read_bytes()
    at = next(whole.index(bytes([number]) * 50) for number in range(60, 120) if bytes([number]) * 50 in whole)
    path.write_bytes(whole[:at] + bytes([7]) + whole[at + 1 :])
    with pytest.raises(ReaderError, match="checksum"):
        read(FastReader, path, TOPICS)


def test_a_message_that_reaches_past_its_chunk_is_refused(tmp_path) -> None:
    path = tmp_path / "bag.mcap"
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE, enable_crcs=False)
        writer.start(profile="ros2", library="")
        channel = writer.register_channel("/a", "cdr", writer.register_schema("std_msgs/msg/Empty", "ros2msg", b""))
        writer.add_message(channel, 7, b"content", 7)
        writer.finish()
    whole = path.read_bytes()
    record = whole.index(b"content") - 31
    assert whole[record] == 5
    for length in (1000, 3):
        path.write_bytes(whole[: record + 1] + length.to_bytes(8, "little") + whole[record + 9 :])
        with pytest.raises(ReaderError, match="does not fit into its chunk"):
            read(FastReader, path, ("/a",))


def test_a_file_that_was_cut_off_after_it_was_opened_is_refused(tmp_path) -> None:
    path = tmp_path / "bag.mcap"
    write(path, 1, CompressionType.NONE)
    with FastReader(path) as reader:
        found = reader.messages(reader.connections)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(ReaderError, match="the file ends within the chunk at byte"):
            list(found)
