"""An episode is complete on disk or is not there, whatever happens to the recorder."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import synthetic
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from synthetic import START_NS

from hpt_ros.embodiment import fingerprint, load_embodiment
from hpt_ros.errors import BusyError, DataError
from hpt_ros.recording import mcap_writer
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.recording.session import OfferedTopic, RecordingSession
from hpt_ros.recording.verify import verify

ROBOT = load_embodiment("sim_panda")
TOPIC = "/franka/joint_states"
TOPICS = {TOPIC: OfferedTopic("sensor_msgs/msg/JointState")}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[BagsFolder]:
    bags = BagsFolder(tmp_path / "bags")
    yield bags
    bags.close()


@pytest.fixture
def session(folder: BagsFolder) -> RecordingSession:
    return RecordingSession(folder, ROBOT, min_free_bytes=0)


def write(session: RecordingSession, count: int) -> list[bytes]:
    raws = [synthetic.joint_state(START_NS + i * 1_000_000, {"a": float(i)}) for i in range(count)]
    for i, raw in enumerate(raws):
        session.write(TOPIC, START_NS + i * 1_000_000 + 500, raw)
    return raws


def start(session: RecordingSession, task: str = "reach") -> Path:
    return session.start(task, "reach the cube", "tester", TOPICS, START_NS)


def test_bag_holds_the_bytes_both_stamps_and_the_metadata(session) -> None:
    start(session)
    raws = write(session, 100)
    path = session.stop(0.5, "slow", "operator")
    with AnyReader([path]) as reader:
        assert [(t, raw) for _, t, raw in reader.messages()] == [
            (START_NS + i * 1_000_000 + 500, raw) for i, raw in enumerate(raws)
        ]
    with Reader(path) as reader:
        custom = reader.storage.metadata.custom
        metadata = EpisodeMetadata.from_custom_data(custom)
    assert custom["hpt_ros.fingerprint"] == fingerprint(ROBOT)
    assert metadata.embodiment == ROBOT
    assert (metadata.task, metadata.instruction, metadata.operator) == ("reach", "reach the cube", "tester")
    assert (metadata.score, metadata.note, metadata.termination) == (0.5, "slow", "operator")
    facts = metadata.topics[TOPIC]
    assert (facts["count"], facts["rate_hz"], facts["gap_max_ms"]) == (100, 1000.0, 1.0)
    assert (facts["missing_by_stamps"], "lost_by_sequence" in facts) == (0, False)
    assert (session.state, session.path, session.episodes_done) == ("IDLE", path, 1)


def test_episodes_count_up_and_stay(session, folder) -> None:
    names = []
    for score in (1.0, 0.0):
        start(session)
        names.append(session.stop(score, "", "").name)
    start(session)
    session.discard()
    start(session, "push")
    names.append(session.stop(1.0, "", "").name)
    stamp = f"{datetime.fromtimestamp(START_NS / 1e9):%Y%m%d_%H%M%S}"
    assert names == [f"{stamp}_1", f"{stamp}_2", f"{stamp}_1"]
    assert sorted(p.name for p in (folder.root / "reach").iterdir()) == names[:2]


def test_a_taken_name_is_never_overwritten(session, folder) -> None:
    path = start(session)
    write(session, 10)
    path.mkdir()
    with pytest.raises(DataError, match="not overwriting"):
        session.stop(1.0, "", "")
    assert session.state == "ERROR"
    assert not list(path.iterdir())
    path.rmdir()
    (salvage,) = folder.salvage_leftovers()
    assert (salvage.path, salvage.messages) == (path.parent / ".quarantine" / path.name, 10)
    assert verify(salvage.path).problems == ()


def test_requests_out_of_turn_are_refused(session) -> None:
    with pytest.raises(DataError, match="no episode"):
        session.stop(1.0, "", "")
    with pytest.raises(DataError, match="no episode"):
        session.discard()
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        start(session, "../reach")
    start(session)
    with pytest.raises(BusyError, match="is being recorded"):
        start(session)
    with pytest.raises(DataError, match=r"score 0\.7"):
        session.stop(0.7, "", "")
    assert session.state == "RECORDING"


def test_start_needs_space(folder) -> None:
    with pytest.raises(DataError, match="GB free"):
        start(RecordingSession(folder, ROBOT, min_free_bytes=2**62))
    assert not list(folder.root.iterdir())


def test_write_error_ends_the_episode_at_once(session, folder) -> None:
    start(session)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        write(session, 20_000)
        while session.state == "RECORDING":  # the disk answers the writing thread
            session.check(START_NS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert session.state == "ERROR"
    assert "File too large" in session.reason
    with pytest.raises(DataError, match="File too large"):
        session.stop(1.0, "", "")
    assert not [p for p in (folder.root / "reach").iterdir() if not p.name.startswith(".")]
    start(session)
    write(session, 10)
    assert session.stop(1.0, "", "").is_dir()


def test_a_disk_that_does_not_keep_up_is_a_write_error(session, folder, monkeypatch) -> None:
    path = start(session)
    stalled, answer = threading.Event(), threading.Event()

    def stall(_: int) -> None:
        stalled.set()
        answer.wait()

    monkeypatch.setattr(mcap_writer, "QUEUE_BYTES", 64 << 20)
    monkeypatch.setattr(mcap_writer.os, "fdatasync", stall)
    raw = synthetic.joint_state(START_NS, {"a": 0.0}) + bytes(1 << 20)
    for i in range(5):
        session.write(TOPIC, START_NS + i, raw)
    stalled.wait()
    try:
        for i in range(100):
            session.write(TOPIC, START_NS + 5 + i, raw)
        assert session.state == "ERROR", "told while the disk still stalls"
        assert "does not keep up: 6" in session.reason
        monkeypatch.undo()
        start(session)  # and the next episode may begin
        write(session, 10)
        assert session.stop(1.0, "", "").is_dir()
    finally:
        answer.set()
    (salvage,) = folder.salvage_leftovers()
    assert salvage.path.name == path.name
    assert verify(salvage.path).problems == ()


def test_a_disk_that_falls_behind_is_told_before_it_ends_the_episode(session, monkeypatch) -> None:
    start(session)
    assert session.disk_warning() is None
    answer = threading.Event()
    fdatasync = os.fdatasync
    monkeypatch.setattr(mcap_writer.os, "fdatasync", lambda file: (answer.wait(), fdatasync(file)))
    raw = synthetic.joint_state(START_NS, {"a": 0.0}) + bytes(1 << 20)
    try:
        for i in range(80):
            session.write(TOPIC, START_NS + i, raw)
        warning = session.disk_warning()
        assert (warning.topic, warning.kind) == ("disk", "slow")
        assert warning.text.startswith("disk: slow: 80 MB wait for it, at 256 MB")
        assert session.state == "RECORDING"
    finally:
        answer.set()
    session.stop(1.0, "", "")
    assert session.disk_warning() is None


def test_crossing_the_floor_ends_the_episode_and_keeps_it(folder, monkeypatch) -> None:
    session = RecordingSession(folder, ROBOT, min_free_bytes=1_000)
    free = iter([10_000, 5_000, 999])
    monkeypatch.setattr(BagsFolder, "free_bytes", property(lambda _: next(free)))
    start(session)
    write(session, 10)
    assert session.check(START_NS + 10**9) is None
    kept = session.check(START_NS + 2 * 10**9)
    with Reader(kept) as reader:
        metadata = EpisodeMetadata.from_custom_data(reader.storage.metadata.custom)
    assert (metadata.score, metadata.termination) == (0.0, "disk floor")
    assert (session.state, session.episodes_done) == ("IDLE", 1)
    assert "nearly full" in session.reason
    assert verify(kept).problems == ()


def test_undo_moves_to_the_trash_one_after_the_other(session, folder) -> None:
    bags = []
    for _ in range(2):
        start(session)
        write(session, 10)
        bags.append(session.stop(1.0, "", ""))
    start(session)
    with pytest.raises(BusyError, match="discard it instead"):
        session.undo()
    session.discard()
    assert [session.undo().name for _ in bags] == [bag.name for bag in reversed(bags)]
    assert session.episodes_done == 0
    with pytest.raises(DataError, match="no episode of this session"):
        session.undo()
    assert sorted(p.name for p in (folder.root / "reach" / ".trash").iterdir()) == [bag.name for bag in bags]
    assert start(session).name.endswith("_3"), "a number is never used twice"


def test_space_for_all_missing_episodes_is_needed(folder, monkeypatch) -> None:
    session = RecordingSession(folder, ROBOT, min_free_bytes=1_000, episode_s=2.0)
    monkeypatch.setattr(BagsFolder, "free_bytes", property(lambda _: 1_000_000))

    def begin(target: int, live: float) -> Path:
        return session.start("reach", "", "", TOPICS, START_NS, target, live)

    with pytest.raises(DataError, match=r"0\.00 GB for the missing episodes needed"):
        begin(10, 50_000.0)  # 10 episodes of 2 s at 50 kB/s
    begin(9, 50_000.0)
    raws = write(session, 100)
    session.stop(1.0, "", "", START_NS + 4 * 10**9)
    size = sum(map(len, raws))
    assert session.needed_bytes(0.0) == 8 * size, "measured: 4 s at a quarter of the size per second"
    with pytest.raises(DataError, match="missing episodes"):
        begin(2 + 1_000_000 // size, 0.0)


def test_one_recorder_per_folder(tmp_path) -> None:
    first = BagsFolder(tmp_path / "bags")
    with pytest.raises(BusyError, match="another recorder"):
        BagsFolder(tmp_path / "bags")
    first.close()
    BagsFolder(tmp_path / "bags").close()


def test_session_that_ends_in_an_episode_quarantines_it(session, folder) -> None:
    path = start(session)
    write(session, 10)
    left = session.close()
    assert left == path.parent / ".quarantine" / path.name
    assert verify(left).problems == ()
    assert [p.name for p in path.parent.iterdir()] == [".quarantine"]
