"""An episode is complete on disk or is not there, whatever happens to the recorder."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
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
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.recording.session import OfferedTopic, RecordingSession

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
    assert metadata.topics == {TOPIC: {"count": 100, "rate_hz": 1000.0}}
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


def test_a_taken_name_is_never_overwritten(session) -> None:
    path = start(session)
    write(session, 10)
    path.mkdir()
    with pytest.raises(DataError, match="not overwriting"):
        session.stop(1.0, "", "")
    assert session.state == "ERROR"
    assert not list(path.iterdir())
    assert (path.parent / ".quarantine" / path.name / "metadata.yaml").exists()


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
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert session.state == "ERROR"
    assert "File too large" in session.reason
    with pytest.raises(DataError, match="File too large"):
        session.stop(1.0, "", "")
    assert [p.name for p in (folder.root / "reach").iterdir()] == [".quarantine"]
    start(session)
    write(session, 10)
    assert session.stop(1.0, "", "").is_dir()


def test_one_recorder_per_folder(tmp_path) -> None:
    first = BagsFolder(tmp_path / "bags")
    with pytest.raises(BusyError, match="another recorder"):
        BagsFolder(tmp_path / "bags")
    first.close()
    BagsFolder(tmp_path / "bags").close()


def test_session_that_ends_in_an_episode_quarantines_it(session, folder) -> None:
    path = start(session)
    write(session, 10)
    assert session.close() == path.parent / ".quarantine" / path.name
    assert [p.name for p in path.parent.iterdir()] == [".quarantine"]


KILLED = """
import os, signal, sys
from pathlib import Path
import synthetic
from hpt_ros.recording import episode

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

root, moment = Path(sys.argv[1]), sys.argv[2]
robot = synthetic.embodiment()
stream = list(synthetic.messages(robot, 0.5))
print(synthetic.record(root, robot, iter(stream)), flush=True)
if moment == "writing":
    stream = (item if i < 100 else die() for i, item in enumerate(stream))
elif moment == "syncing":
    episode.sync = die
elif moment == "renaming":
    episode.move_out = die
synthetic.record(root, robot, iter(stream))
"""


@pytest.mark.parametrize("moment", ["writing", "syncing", "renaming"])
def test_kill_leaves_only_what_was_acknowledged(tmp_path, moment) -> None:
    root, tests = tmp_path / "bags", Path(__file__).parents[1]
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), moment],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    acknowledged = Path(child.stdout.strip())
    assert [path for path in root.glob("*/*") if not path.name.startswith(".")] == [acknowledged]
    with AnyReader([acknowledged]) as reader:
        assert sum(1 for _ in reader.messages()) == reader.message_count > 0
    folder = BagsFolder(root)
    (left,) = folder.quarantine_leftovers()
    assert left.parent == root / "reach" / ".quarantine"
    assert left.name.endswith("_2")
    assert list(left.glob("*.mcap"))
    assert folder.quarantine_leftovers() == []
    folder.close()
