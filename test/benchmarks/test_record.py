"""The recorder's benchmark counts what was published against what is in the bag."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from hpt_ros.benchmarks import record
from hpt_ros.benchmarks.record_load import number_of, sources
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.session import OfferedTopic, RecordingSession
from hpt_ros.streams.cdr import decode, header_stamp_ns

pytestmark = pytest.mark.live


@pytest.mark.parametrize("kind", ["robot", "cameras"])
def test_the_load_is_numbered_and_readable(kind) -> None:
    for source in sources(kind):
        messages = [source.next() for _ in range(20)]
        assert [number_of(raw) for raw in messages] == list(range(20))
        assert all(header_stamp_ns(raw) > 0 for raw in messages)
        assert decode(messages[5], source.msgtype).header.frame_id == "0000000005"
        if kind == "cameras":
            assert all(a[256:] != b[256:] for a, b in itertools.pairwise(messages))


def test_what_is_missing_or_swapped_is_counted(tmp_path) -> None:
    (source, *_) = sources("robot")
    messages = [source.next() for _ in range(100)]
    del messages[60]
    messages[20], messages[21] = messages[21], messages[20]
    folder = BagsFolder(tmp_path)
    session = RecordingSession(folder, record.embodiment(), 0)
    session.start("bench", "", "", {source.topic: OfferedTopic(source.msgtype)}, 10**18)
    for i, raw in enumerate(messages[10:]):
        session.write(source.topic, 10**18 + i, raw)
    bag = session.stop(1.0, "", "")
    ((topic, published, (recorded, disorder, _)),) = record._compare(bag, {source.topic: 103})
    assert (topic, published, recorded, disorder) == (source.topic, 93, 89, 1)
    folder.close()


@pytest.fixture
def own_environment() -> Iterator[None]:
    """The benchmark sets domain and transport for its processes, as a command may."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("own_environment")
def test_a_short_run_over_dds_loses_nothing(tmp_path, monkeypatch) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
    monkeypatch.setattr(record, "QUICK_S", 3.0)
    monkeypatch.chdir(tmp_path)
    report = record.run(True, lambda _: None)
    topics = {row["what"]: row for row in report.rows if "published" in row}
    assert len(topics) == 6
    assert all(row["published"] > 3 * 0.5 * row["rate_hz"] for row in topics.values())
    losses = {what: (row["lost"], row["out_of_order"]) for what, row in topics.items()}
    lost, *_ = report.goals
    assert (lost.found, lost.reached, set(losses.values())) == (0, True, {(0, 0)}), losses
    assert next(row for row in report.rows if row["what"] == "recorder")["cpu_percent"] > 0
    assert list(tmp_path.iterdir()) == [], "the recording is gone afterwards"
