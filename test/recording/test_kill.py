"""SIGKILL at any moment: what was acknowledged is whole, what was not is salvaged, nothing else is there.

HPT_ROS_KILLS=200 python -m pytest test/recording/test_kill.py kills 200 times; the default is a few.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import synthetic
from rosbags.highlevel import AnyReader

from hpt_ros.demos.bag import find_bags
from hpt_ros.recording import mcap_writer
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.recording.session import OfferedTopic, RecordingSession
from hpt_ros.recording.verify import verify

KILLS = int(os.environ.get("HPT_ROS_KILLS", "10"))
LONGEST_S = 0.6
ROBOT = synthetic.embodiment()
SPECS = {spec.key: spec for spec in (*ROBOT.streams(), ROBOT.command_stream())}
TOPICS = {spec.topic: OfferedTopic(spec.msgtype, rate_hz=spec.rate_hz) for spec in SPECS.values()}
STREAM = [(SPECS[key].topic, stamp, raw) for key, stamp, raw in synthetic.messages(ROBOT, 1.0)]


def record_for_ever(root: Path, said: int) -> None:
    """Episode after episode; each path goes to the file `said` once `stop` has returned it."""
    folder = BagsFolder(root)
    os.write(said, b"ready\n")
    while True:
        session = RecordingSession(folder, ROBOT, min_free_bytes=0)
        session.start("reach", "reach the cube", "tester", TOPICS, time.time_ns())
        for number, message in enumerate(STREAM):
            session.write(*message, sequence=number + 1)
            if number % 40 == 0:
                time.sleep(0.001)
        os.write(said, f"{session.stop(1.0, '', 'success')}\n".encode())


def run_and_kill(root: Path, after_s: float) -> list[Path]:
    """The acknowledged bags of a recorder that lived for `after_s`."""
    heard, said = os.pipe()
    child = os.fork()  # not a new interpreter: 200 of them would take minutes
    if child == 0:
        record_for_ever(root, said)
    os.close(said)
    with os.fdopen(heard) as lines:
        assert lines.readline() == "ready\n"
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
        acknowledged = [Path(line.strip()) for line in lines if line.endswith("\n")]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return acknowledged


def test_no_acknowledged_episode_is_lost_and_the_rest_is_salvaged(tmp_path) -> None:
    moments = random.Random(7)
    salvaged = 0
    for number in range(KILLS):
        root = tmp_path / str(number)
        acknowledged = run_and_kill(root, moments.uniform(0.0, LONGEST_S))
        visible = [path for path in root.glob("*/*") if not path.name.startswith(".")]
        # renamed, and killed before it could say so: whole as well
        assert set(acknowledged) <= set(visible)
        assert len(visible) - len(acknowledged) in (0, 1)
        folder = BagsFolder(root)
        left = folder.salvage_leftovers()
        assert len(left) <= 1
        for path in (*visible, *(salvage.path for salvage in left if salvage.messages)):
            assert verify(path).problems == ()
        assert folder.salvage_leftovers() == []
        assert not list(root.glob("*/.*.partial"))
        salvaged += len(left)
        folder.close()
        shutil.rmtree(root)
    assert salvaged > KILLS / 3, "most kills hit an episode in the making"


def begin(root: Path) -> tuple[BagsFolder, RecordingSession]:
    """An episode in the making that holds all of the stream."""
    folder = BagsFolder(root)
    session = RecordingSession(folder, ROBOT, min_free_bytes=0)
    session.start("reach", "reach the cube", "tester", TOPICS, synthetic.START_NS)
    for message in STREAM:
        session.write(*message)
    return folder, session


def crash(session: RecordingSession) -> None:
    """Everything that was handed over is in the file, and nothing more comes."""
    mcap = session._episode.writer._mcap
    mcap._queue.put(None)
    mcap._thread.join()
    mcap.abort()


@pytest.mark.parametrize("keep_share", [0.3, 0.7, 1.0])
def test_what_can_be_read_of_a_cut_file_is_a_bag_again(tmp_path, monkeypatch, keep_share) -> None:
    monkeypatch.setattr(mcap_writer, "CHUNK_BYTES", 20_000)
    folder, session = begin(tmp_path / "bags")
    crash(session)
    (partial,) = folder.root.glob("*/.*.partial")
    (mcap,) = partial.glob("*/*.mcap")
    os.truncate(mcap, round(mcap.stat().st_size * keep_share))
    (salvage,) = folder.salvage_leftovers()
    assert 0.8 * keep_share * len(STREAM) < salvage.messages <= len(STREAM)
    assert verify(salvage.path).problems == ()
    assert "without an end mark" in salvage.remark or "are left" in salvage.remark
    with AnyReader([salvage.path]) as reader:
        read = [(c.topic, t, raw) for c, t, raw in reader.messages()]
        custom = reader.readers[0].storage.metadata.custom
    assert sorted(read) == sorted(STREAM[: len(read)])
    about = EpisodeMetadata.from_custom_data(custom)
    assert (about.task, about.operator, about.score, about.termination) == ("reach", "tester", 0.0, "interrupted")
    folder.close()


def test_a_file_without_a_readable_head_is_put_aside_as_it_is(tmp_path) -> None:
    folder, session = begin(tmp_path / "bags")
    crash(session)
    (mcap,) = folder.root.glob("*/.*.partial/*/*.mcap")
    os.truncate(mcap, 60)
    (salvage,) = folder.salvage_leftovers()
    assert salvage.messages == 0
    assert "nothing readable" in salvage.remark
    assert (salvage.path / mcap.name).stat().st_size == 60
    folder.close()


def test_a_salvage_that_is_itself_interrupted_begins_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mcap_writer, "CHUNK_BYTES", 20_000)
    folder, session = begin(tmp_path / "bags")
    crash(session)
    (partial,) = folder.root.glob("*/.*.partial")
    half = partial.parent / ".quarantine" / partial.name
    half.mkdir(parents=True)
    (half / "rest").write_text("")
    (salvage,) = folder.salvage_leftovers()
    assert 0 < salvage.messages <= len(STREAM)
    assert not half.exists()
    assert not partial.exists()
    folder.close()


def test_a_bag_that_was_complete_but_never_acknowledged_is_put_aside_whole(tmp_path, monkeypatch) -> None:
    folder, session = begin(tmp_path / "bags")
    monkeypatch.setattr("hpt_ros.recording.episode.move_out", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.stop(1.0, "", "success")
    monkeypatch.undo()
    (salvage,) = folder.salvage_leftovers()
    assert salvage.messages == len(STREAM)
    assert verify(salvage.path).problems == ()
    assert find_bags([salvage.path]) == [salvage.path]
    folder.close()
