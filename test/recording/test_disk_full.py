"""A disk that fills up: the episode ends cleanly, what was committed before is whole, what was written is salvaged."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import synthetic
from synthetic import START_NS

from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import DataError
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.session import OfferedTopic, RecordingSession
from hpt_ros.recording.verify import verify

TOPIC = "/front_camera/color/image_raw"
TOPICS = {TOPIC: OfferedTopic("sensor_msgs/msg/Image")}
DISK_BYTES = 24 << 20
FRAME = synthetic.image(START_NS, synthetic.frame(0, 480, 640))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def fill(session: RecordingSession) -> None:
    """Write until the session ends the episode; frames come 30 times a second."""
    for i in range(10_000):
        stamp_ns = START_NS + i * 33_000_000
        session.write(TOPIC, stamp_ns, FRAME)
        session.check(stamp_ns)
        if session.state != "RECORDING":
            return
        time.sleep(0.02)  # a full queue would be another error
    pytest.fail("the disk never filled up")


def begin(root: Path, floor_bytes: int) -> tuple[BagsFolder, RecordingSession, Path]:
    """A session with one committed episode of five frames, and another that has just begun."""
    folder = BagsFolder(root)
    session = RecordingSession(folder, load_embodiment("sim_panda"), floor_bytes)
    session.start("reach", "", "", TOPICS, START_NS)
    for i in range(5):
        session.write(TOPIC, START_NS + i, FRAME)
    committed = session.stop(1.0, "", "success")
    session.start("reach", "", "", TOPICS, START_NS)
    return folder, session, committed


def test_at_the_floor_the_episode_is_kept(disk) -> None:
    folder, session, committed = begin(disk / "bags", 8 << 20)
    fill(session)
    assert session.state == "IDLE"
    assert "nearly full" in session.reason
    assert verify(committed).problems == verify(session.path).problems == ()
    assert verify(session.path).messages > 5
    with pytest.raises(DataError, match="GB free"):
        session.start("reach", "", "", TOPICS, START_NS)
    folder.close()


def test_without_a_floor_the_write_error_is_told_and_nothing_committed_is_lost(disk) -> None:
    folder, session, committed = begin(disk / "bags", 0)
    fill(session)
    assert session.state == "ERROR"
    assert "No space left on device" in session.reason
    with pytest.raises(DataError, match="No space left"):
        session.stop(1.0, "", "success")
    assert [path for path in (disk / "bags").glob("*/*") if not path.name.startswith(".")] == [committed]
    assert verify(committed).problems == ()
    (kept,) = folder.salvage_leftovers()
    assert "left as it is" in kept.remark, "its copy does not fit beside it"
    assert kept.path.exists()
    subprocess.run(["mount", "-o", f"remount,size={4 * DISK_BYTES}", str(disk)], check=True)
    (salvage,) = folder.salvage_leftovers()
    assert salvage.messages > 5
    assert verify(salvage.path).problems == ()
    folder.close()
