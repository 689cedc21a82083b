"""An episode as MCAP: what two independent readers find in it, and the shipped layout that looks at it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import synthetic
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from hpt_ros.demos import Demos, convert
from hpt_ros.demos.view import COMMAND_TOPIC, INSTRUCTION_TOPIC, STATE_TOPIC, depth_topic, image_topic, write_mcap
from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import BusyError, DataError
from hpt_ros.paths import config_dir

ROBOT = synthetic.depth_embodiment()


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    root = tmp_path_factory.mktemp("view")
    for _ in range(2):
        synthetic.record(root / "bags", ROBOT, synthetic.messages(ROBOT, 0.8))
    convert([root / "bags"], None, root / "demos")
    return Demos.open(root / "demos")


@pytest.fixture(scope="module")
def path(demos: Demos) -> Path:
    path = demos.path.parent / "episode.mcap"
    write_mcap(demos, 1, path)
    return path


def _read(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """By topic: receive time and message, with the types that stand in the file."""
    found = defaultdict(list)
    with AnyReader([path]) as reader:
        for connection, at_ns, raw in reader.messages():
            found[connection.topic].append((at_ns, reader.deserialize(raw, connection.msgtype)))
    return found


def test_state_and_commands_are_those_of_the_episode(demos: Demos, path: Path) -> None:
    found, episode = _read(path), demos.episodes[1]
    ticks = demos.tick_ns[episode.start : episode.stop].tolist()
    for topic, values in ((STATE_TOPIC, demos.state), (COMMAND_TOPIC, demos.command)):
        assert [at for at, _ in found[topic]] == ticks
        assert all(message.name == list(ROBOT.state_names) for _, message in found[topic])
        read = np.array([message.position for _, message in found[topic]])
        np.testing.assert_array_equal(read, values[episode.start : episode.stop].astype(np.float64))
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for _, m in found[STATE_TOPIC]]
    assert stamps == ticks
    assert [message.data for _, message in found[INSTRUCTION_TOPIC]] == ["reach the cube"]


def test_images_are_jpeg_in_the_right_colours_and_depth_is_exact(demos: Demos, path: Path) -> None:
    found, episode = _read(path), demos.episodes[1]
    for name, frames in demos.images.items():
        assert len(found[image_topic(name)]) == episode.stop - episode.start
        for i, (_, message) in enumerate(found[image_topic(name)], start=episode.start):
            assert message.format == "jpeg"
            rgb = cv2.cvtColor(cv2.imdecode(message.data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            np.testing.assert_allclose(rgb.mean((0, 1)), frames[i].mean((0, 1)), atol=6)
    for name, maps in demos.depth.items():
        for i, (_, message) in enumerate(found[depth_topic(name)], start=episode.start):
            assert (message.encoding, message.step) == ("16UC1", 2 * message.width)
            np.testing.assert_array_equal(message.data.view("<u2").reshape(message.height, message.width), maps[i])


def test_the_file_has_an_index_and_names_its_types_as_foxglove_expects(path: Path) -> None:
    with path.open("rb") as file:
        summary = make_reader(file, validate_crcs=True).get_summary()
    assert summary is not None
    assert summary.statistics.message_count == sum(summary.statistics.channel_message_counts.values()) > 0
    assert summary.chunk_indexes
    assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
    assert {channel.message_encoding for channel in summary.channels.values()} == {"cdr"}


def test_refusals_leave_what_is_there(demos: Demos, path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(BusyError, match="exists"):
        write_mcap(demos, 0, path)
    with pytest.raises(DataError, match=r"no episode 2 .*\n.*from 0 to 1"):
        write_mcap(demos, 2, path, overwrite=True)
    with pytest.raises(DataError, match="no episode -1"):
        write_mcap(demos, -1, tmp_path / "new.mcap")
    assert path.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_the_layout_shows_topics_that_the_presets_have() -> None:
    layout = json.loads((config_dir("foxglove") / "demonstration.json").read_text())
    panels = set(re.findall(r'"(\w+!\w+)"', json.dumps(layout["layout"])))
    assert panels == set(layout["configById"])
    robot = load_embodiment("sim_panda")
    topics = {STATE_TOPIC, COMMAND_TOPIC, INSTRUCTION_TOPIC, *(image_topic(c.name) for c in robot.cameras)}
    used = set(re.findall(r"/demo/[\w/]+", json.dumps(layout)))
    assert used == topics
    assert f"{STATE_TOPIC}.position[{len(robot.state_names) - 1}]" in json.dumps(layout)


def test_rerun_gets_every_tick(demos: Demos, tmp_path: Path) -> None:
    rerun = pytest.importorskip("rerun", reason="needs rerun-sdk (pip install rerun-sdk)")
    from hpt_ros.demos.view_rerun import log_episode

    sent: list[tuple[str, float | None]] = []

    class Recording(rerun.RecordingStream):  # type: ignore[misc]
        now_s: float | None = None

        def set_time(self, timeline: str, *, timestamp: float) -> None:
            super().set_time(timeline, timestamp=timestamp)
            self.now_s = timestamp

        def log(self, path: str, content: Any, **options: Any) -> None:
            super().log(path, content, **options)
            sent.append((path, self.now_s))

    recording = Recording("test")
    recording.save(tmp_path / "episode.rrd")
    log_episode(rerun, recording, demos, 1)
    recording.flush()
    episode = demos.episodes[1]
    ticks_s = (demos.tick_ns[episode.start : episode.stop] / 1e9).tolist()
    for path in ("images/front", "images/wrist", "depth/near", "state/panda_joint1", "command/gripper_width"):
        assert [at for sent_path, at in sent if sent_path == path] == ticks_s
    assert sent[0] == ("instruction", None)
    assert (tmp_path / "episode.rrd").stat().st_size > 10_000
