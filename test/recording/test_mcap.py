"""What is written can be read by everybody, whole or cut off anywhere."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader
from synthetic import START_NS

from hpt_ros.recording import mcap_writer
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.mcap_records import DamageError, Message, Notes, walk
from hpt_ros.recording.mcap_writer import McapWriter
from hpt_ros.recording.session import OfferedTopic, RecordingSession
from hpt_ros.recording.verify import verify

reader = pytest.importorskip("mcap.reader", reason="needs the mcap package (requirements/dev.txt)")

MESSAGES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3_000_000_000), st.binary(max_size=300)), max_size=60)


def write(path: Path, messages, compress: bool) -> None:
    writer = McapWriter(path, "test", compress)
    schema = writer.add_schema("std_msgs/msg/String", "ros2msg", "string data\n")
    for topic in ("/a", "/b", "/c"):
        writer.add_channel(schema, topic, "cdr", {"offered_qos_profiles": ""})
    writer.write_notes("head", {"key": "välue"})
    for i, (channel, offset, raw) in enumerate(messages):
        writer.append(channel, i, START_NS + offset, START_NS + offset - 5, raw)
    writer.close("rosbag2", {"serialized_metadata": "{}"})


def collect(source, items: list) -> None:
    for item in source:
        items.append(item)


@settings(max_examples=60, deadline=None)
@given(messages=MESSAGES, compress=st.booleans(), chunk=st.sampled_from([50, 400, 4 << 20]))
def test_the_mcap_library_reads_what_was_written(messages, compress, chunk) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcap_writer, "CHUNK_BYTES", chunk)
        path = Path(folder) / "a.mcap"
        write(path, messages, compress)
        with path.open("rb") as file:
            source = reader.make_reader(file, validate_crcs=True)
            summary = source.get_summary()
            read = [(c.id, m.log_time - START_NS, m.data) for _, c, m in source.iter_messages(log_time_order=False)]
            names = [record.name for record in source.iter_metadata()]
        assert read == messages
        assert names == ["head", "rosbag2"]
        assert summary.statistics.message_count == len(messages)
        assert summary.statistics.chunk_count == len(summary.chunk_indexes)
        walked = list(walk(path))
        assert [(m.channel.number, m.log_ns - START_NS, m.raw) for m in walked if isinstance(m, Message)] == messages
        assert Notes("head", {"key": "välue"}) in walked


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_that_ends_anywhere_gives_its_whole_chunks_and_says_so(data) -> None:
    messages = [(1 + i % 3, i * 1000, bytes([i]) * 40) for i in range(60)]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcap_writer, "CHUNK_BYTES", 500)
        path = Path(folder) / "a.mcap"
        write(path, messages, compress=False)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 2000))])
        items = []
        with pytest.raises(DamageError):
            collect(walk(path), items)
        read = [(m.channel.number, m.log_ns - START_NS, m.raw) for m in items if isinstance(m, Message)]
        assert read == messages[: len(read)]


def test_a_changed_byte_is_found(tmp_path) -> None:
    path = tmp_path / "a.mcap"
    write(path, [(1, i, b"content") for i in range(10)], compress=False)
    data = bytearray(path.read_bytes())
    data[data.index(b"content") + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamageError, match="checksum"):
        list(walk(path))


def test_mcap_and_rosbags_read_the_same_from_a_bag(tmp_path) -> None:
    robot = synthetic.embodiment()
    bag = synthetic.record(tmp_path / "bags", robot, synthetic.messages(robot, 1.0))
    with AnyReader([bag]) as source:
        rosbags = [(c.topic, t, raw) for c, t, raw in source.messages()]
        types = {c.topic: (c.msgtype, c.digest) for c in source.connections}
    with next(bag.glob("*.mcap")).open("rb") as file:
        source = reader.make_reader(file, validate_crcs=True)
        mcap = [(c.topic, m.log_time, m.data) for _, c, m in source.iter_messages()]
        summary = source.get_summary()
    assert sorted(rosbags) == sorted(mcap)
    assert len(mcap) > 200
    schemas = {c.topic: summary.schemas[c.schema_id] for c in summary.channels.values()}
    for topic, (msgtype, digest) in types.items():
        assert (schemas[topic].name, schemas[topic].encoding) == (msgtype, "ros2msg")
        assert digest.startswith("RIHS01_")


def test_a_compressed_episode_reads_the_same(tmp_path) -> None:
    robot = synthetic.embodiment()
    specs = {spec.key: spec for spec in (*robot.streams(), robot.command_stream())}
    stream = [(specs[key].topic, stamp, raw) for key, stamp, raw in synthetic.messages(robot, 0.5)]
    sizes = {}
    for compress in (False, True):
        folder = BagsFolder(tmp_path / str(compress))
        session = RecordingSession(folder, robot, min_free_bytes=0, compress=compress)
        topics = {spec.topic: OfferedTopic(spec.msgtype) for spec in specs.values()}
        session.start("reach", "", "", topics, START_NS)
        for message in stream:
            session.write(*message)
        bag = session.stop(1.0, "", "")
        folder.close()
        with AnyReader([bag]) as source:
            assert sorted((c.topic, t, raw) for c, t, raw in source.messages()) == sorted(stream)
        assert verify(bag).problems == ()
        sizes[compress] = next(bag.glob("*.mcap")).stat().st_size
    assert sizes[True] < sizes[False]
