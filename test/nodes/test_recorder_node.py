"""The recorder over real topics: refusals, complete bags, nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from rosbags.highlevel import AnyReader

from hpt_ros.demos import Demos, convert
from hpt_ros.embodiment import embodiment_to, load_embodiment
from hpt_ros.errors import StreamError
from hpt_ros.recording.mcap_records import Message, walk
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.recording.verify import verify
from hpt_ros.streams import header_stamp_ns

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from hpt_ros.srv import StartEpisode
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

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
def robot(ros_env: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    children: list[subprocess.Popen[bytes]] = []
    tests = Path(__file__).parents[1]
    environment = ros_env | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}

    def begin(*args: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(Path(__file__).with_name("fake_robot.py")), *args]
        children.append(subprocess.Popen(command, env=environment))
        return children[-1]

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
        return all(rates.get(topic, 0.0) > 5.0 for topic in TOPICS) and not status.warnings

    session.wait_for("messages on every topic", flowing, 20.0)


def begin_episode(session: Session) -> None:
    session.insist(lambda: session.start_episode("reach", "reach the cube", "tester"))
    session.wait_for("1000 messages", lambda: sum(session.latest["recorder"].counts) > 1000, 20.0)


def refused_start(session: Session, reason: str) -> None:
    """Until a start is refused for this reason: on a busy machine a slow stream may be another one first."""

    def refusal() -> re.Match[str] | None:
        with pytest.raises(StreamError) as refused:
            session.start_episode("reach", "", "")
        return re.search(reason, str(refused.value))

    session.wait_for(f"the refusal {reason!r}", refusal, 20.0)


def count(session: Session, topic: str) -> int:
    """Messages of the running episode, as the status tells."""
    status = session.latest["recorder"]
    return dict(zip(status.topics, status.counts, strict=True)).get(topic, 0)


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
    messages = [item for item in walk(next(bag.glob("*.mcap"))) if isinstance(item, Message)]
    for topic in TOPICS:
        sequences = [m.sequence for m in messages if m.channel.topic == topic]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences))), "the publisher's own numbers"
    for message in messages:
        assert header_stamp_ns(message.raw) <= message.publish_ns <= message.log_ns, "measured, sent, received"
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
    refused_start(session, "GB free")


def test_discard_leaves_nothing_and_the_next_episode_works(session, robot, recorder, tmp_path) -> None:
    robot()
    recorder()
    wait_for_rates(session)
    begin_episode(session)
    refused_start(session, "is being recorded")
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
    session.wait_for("what has gone to the disk", lambda: session.latest["recorder"].duration_s > 2.5, 10.0)
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
    left = next((tmp_path / "bags" / "reach" / ".quarantine").iterdir())
    assert verify(left).problems == ()
    assert verify(left).messages > 0


def test_a_frozen_camera_and_a_slow_joint_stream_are_told_within_a_second(session, robot, recorder, tmp_path) -> None:
    real = tmp_path / "real.yaml"  # a rendered camera may show the same twice
    real.write_text(yaml.safe_dump(embodiment_to(ROBOT) | {"simulated": False}))
    camera, joints = ROBOT.cameras[0].topic, ROBOT.joints.topic
    process = robot("--freeze", camera, "--halve", joints)
    recorder("-p", f"embodiment:={real}")
    wait_for_rates(session)
    begin_episode(session)
    changed_ns = time.time_ns()
    process.send_signal(signal.SIGUSR1)
    told_ns: dict[str, int] = {}

    def told() -> bool:
        status = session.latest["recorder"]
        for topic, kind in ((camera, "frozen"), (joints, "slow")):
            if any(warning.startswith(f"{topic}: {kind}") for warning in status.warnings):
                told_ns.setdefault(topic, status.header.stamp.sec * 10**9 + status.header.stamp.nanosec)
        return len(told_ns) == 2

    session.wait_for("both warnings", told, 10.0)
    bag = Path(session.stop_episode(1.0, "success"))
    with AnyReader([bag]) as reader:
        stamps = [(c.topic, header_stamp_ns(raw)) for c, _, raw in reader.messages() if c.topic in told_ns]
        custom = reader.readers[0].storage.metadata.custom
    for topic, rate_hz in ((camera, 30), (joints, 500)):  # by what was published since: a busy machine publishes later
        since = sum(t == topic and changed_ns < stamp < told_ns[topic] for t, stamp in stamps)
        assert 0 < since <= rate_hz
    warnings = "\n".join(EpisodeMetadata.from_custom_data(custom).warnings)
    assert f"{camera}: frozen" in warnings
    assert f"{joints}: slow" in warnings


def test_start_is_refused_while_a_stream_is_slower_than_the_contract(session, robot, recorder) -> None:
    robot("--halve", ROBOT.joints.topic, "--failing")
    recorder()
    session.wait_for("the warning", lambda: "slow" in str(session.wait_for_status("recorder").warnings), 20.0)
    refused_start(session, rf"{ROBOT.joints.topic}: \d+\.\d Hz, 1000 Hz expected")


def test_what_is_offered_is_asked_for_also_when_it_changes(session, robot, recorder) -> None:
    joints = ROBOT.joints.topic
    first = robot()
    recorder()
    wait_for_rates(session)
    first.kill()
    session.wait_for("silence", lambda: "silent" in str(session.latest["recorder"].warnings), 20.0)
    robot("--best-effort", joints)
    wait_for_rates(session)
    begin_episode(session)
    with AnyReader([Path(session.stop_episode(1.0, "success"))]) as reader:
        offers = {c.topic: {q.reliability.name for q in c.ext.offered_qos_profiles} for c in reader.connections}
        counts = {c.topic: c.msgcount for c in reader.connections}
    assert "BEST_EFFORT" in offers[joints]
    assert offers[ROBOT.cameras[0].topic] == {"RELIABLE"}
    assert counts[joints] > 100


def test_status_says_everything_and_undo_takes_back(session, robot, recorder, tmp_path) -> None:
    robot()
    recorder("-p", "expected_episode_s:=10.0")
    wait_for_rates(session)
    request = StartEpisode.Request(task="reach", instruction="reach it", operator_name="me", episodes_target=3)
    session.insist(lambda: session.call(StartEpisode, "/hpt_ros/recorder/start", request))
    session.wait_for("1000 messages", lambda: sum(session.latest["recorder"].counts) > 1000, 20.0)
    status = session.latest["recorder"]
    index = {topic: i for i, topic in enumerate(status.topics)}
    joints = index[ROBOT.joints.topic]
    assert (status.state, status.task, status.instruction) == ("RECORDING", "reach", "reach it")
    assert (status.episodes_done, status.episodes_target) == (0, 3)
    assert status.expected_hz[joints] == 1000.0
    assert status.expected_hz[index["/hpt_ros/action_chunk"]] == 0.0
    assert status.worst_gap_ms[joints] > 0.0
    assert len(status.drops) == len(status.topics)
    assert status.bytes_per_s > 100_000
    assert status.disk_needed_bytes > 3 * 10 * 100_000
    bag = Path(session.stop_episode(1.0, "success"))
    verdict = verify(bag)
    assert verdict.problems == ()
    with AnyReader([bag]) as reader:
        about = EpisodeMetadata.from_custom_data(reader.readers[0].storage.metadata.custom)
    assert about.topics[ROBOT.joints.topic]["lost_by_sequence"] == 0
    assert session.trigger("/hpt_ros/recorder/undo").endswith(f"/.trash/{bag.name}")
    assert not visible(tmp_path / "bags")
    assert session.wait_for("the count", lambda: session.latest["recorder"].episodes_done == 0, 5.0)
    with pytest.raises(StreamError, match="no episode of this session"):
        session.trigger("/hpt_ros/recorder/undo")


def test_an_extra_topic_is_required_and_a_latched_one_is_in_every_episode(session, robot, recorder) -> None:
    robot()
    recorder("-p", "extra_topics:=['/calibration']")
    wait_for_rates(session)
    with pytest.raises(StreamError, match="/calibration: no publisher"):
        session.start_episode("reach", "", "")
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    session.node.create_publisher(String, "/calibration", qos).publish(String(data="f = 600 px"))
    for _ in range(2):
        begin_episode(session)
        session.wait_for("the latched message", lambda: count(session, "/calibration") == 1, 20.0)
        with AnyReader([Path(session.stop_episode(1.0, "success"))]) as reader:
            connections = [c for c in reader.connections if c.topic == "/calibration"]
            (said,) = [reader.deserialize(raw, c.msgtype).data for c, _, raw in reader.messages(connections)]
        assert said == "f = 600 px"
