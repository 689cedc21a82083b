"""The recorder over real topics: refusals, complete bags, nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from hpt_ros.demos import Demos, convert
from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import StreamError
from hpt_ros.streams import header_stamp_ns

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from hpt_ros.nodes.session import Session

ROBOT = load_embodiment("sim_panda")
TOPICS = {s.topic for s in (*ROBOT.streams(), ROBOT.command_stream())}


@pytest.fixture
def session(ros_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as client:
        yield client


@pytest.fixture
def robot(ros_env: dict[str, str]) -> Iterator[Callable[..., None]]:
    children: list[subprocess.Popen[bytes]] = []
    tests = Path(__file__).parents[1]
    environment = ros_env | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}

    def begin(*args: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("fake_robot.py")), *args]
        children.append(subprocess.Popen(command, env=environment))

    yield begin
    for child in children:
        child.kill()
        child.wait()


@pytest.fixture
def recorder(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    return lambda *args: start("hpt_ros.nodes.recorder_node", "-p", f"bags_dir:={tmp_path / 'bags'}", *args)


def wait_for_rates(session: Session) -> None:
    def flowing() -> bool:
        status = session.latest.get("recorder")
        rates = dict(zip(status.topics, status.rates_hz, strict=True)) if status else {}
        return all(rates.get(topic, 0.0) > 5.0 for topic in TOPICS)

    session.wait_for("messages on every topic", flowing, 20.0)


def begin_episode(session: Session) -> None:
    session.start_episode("reach", "reach the cube", "tester")
    session.wait_for("1000 messages", lambda: sum(session.latest["recorder"].counts) > 1000, 20.0)


def visible(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if not path.name.startswith(".")]


def test_recorded_episode_is_a_complete_bag_that_converts(session, robot, recorder, tmp_path) -> None:
    robot()
    recorder()
    wait_for_rates(session)
    begin_episode(session)
    assert not visible(tmp_path / "bags"), "an episode shows only when it is complete"
    bag = Path(session.stop_episode(0.5, "operator", "a note"))

    assert visible(tmp_path / "bags") == [bag]
    assert session.wait_for("IDLE", lambda: session.latest["recorder"].state == "IDLE", 5.0)
    assert session.latest["recorder"].path == str(bag)
    assert session.latest["recorder"].episodes_done == 1
    with AnyReader([bag]) as reader:
        assert {c.topic for c in reader.connections} >= TOPICS
        for connection in reader.connections:
            assert connection.digest.startswith("RIHS01_")
            assert connection.ext.offered_qos_profiles[0].reliability.name == "RELIABLE"
        for connection, receive_ns, raw in reader.messages():
            reader.deserialize(raw, connection.msgtype)
            assert 0 <= receive_ns - header_stamp_ns(raw) < 5e9, "log time is the receive time"
    report = convert([bag], None, tmp_path / "demos")
    assert report.episodes == 1
    demos = Demos.open(tmp_path / "demos")
    assert demos.embodiment == ROBOT
    assert (demos.episodes[0].score, demos.episodes[0].operator) == (0.5, "tester")


def test_start_is_refused_while_a_topic_is_missing(session, robot, recorder, tmp_path) -> None:
    robot("--without", "/wrist_camera/color/image_raw")
    recorder()
    session.wait_for_status("recorder")
    with pytest.raises(
        StreamError, match=r"/wrist_camera/color/image_raw: no publisher, expected sensor_msgs/msg/Image"
    ):
        session.start_episode("reach", "", "")
    assert session.latest["recorder"].state == "IDLE"
    assert not list((tmp_path / "bags").rglob("*"))


def test_start_is_refused_without_space(session, robot, recorder) -> None:
    robot()
    recorder("-p", f"min_free_bytes:={2**60}")
    wait_for_rates(session)
    with pytest.raises(StreamError, match="GB free"):
        session.start_episode("reach", "", "")


def test_discard_leaves_nothing_and_the_next_episode_works(session, robot, recorder, tmp_path) -> None:
    robot()
    recorder()
    wait_for_rates(session)
    begin_episode(session)
    with pytest.raises(StreamError, match="is being recorded"):
        session.start_episode("reach", "", "")
    session.trigger("/hpt_ros/recorder/discard")
    assert not list((tmp_path / "bags" / "reach").iterdir())
    with pytest.raises(StreamError, match="no episode"):
        session.stop_episode(1.0, "success")
    begin_episode(session)
    with pytest.raises(StreamError, match=r"expected 0, 0.5 or 1"):
        session.stop_episode(0.7, "success")
    assert Path(session.stop_episode(1.0, "success")).is_dir()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_episode_that_was_not_stopped_is_no_bag(session, robot, recorder, tmp_path, number) -> None:
    robot()
    process = recorder()
    wait_for_rates(session)
    begin_episode(session)
    kept = session.stop_episode(1.0, "success")
    begin_episode(session)
    process.send_signal(number)
    process.wait(timeout=10)
    assert visible(tmp_path / "bags") == [Path(kept)]
    if number == signal.SIGKILL:
        session.latest.clear()
        recorder()
        session.wait_for_status("recorder")
    quarantined = list((tmp_path / "bags" / "reach" / ".quarantine").iterdir())
    assert [path.name[-2:] for path in quarantined] == ["_2"]
    assert not list((tmp_path / "bags" / "reach").glob("*.partial"))
