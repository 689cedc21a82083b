"""The same messages in bags of every kind give the same demonstrations; what cannot be read is named."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from synthetic import MS, START_NS

from hpt_ros.demos import ConvertReport, Demos, convert
from hpt_ros.demos.bag import find_bags
from hpt_ros.demos.settings import ConvertSettings, Outside
from hpt_ros.errors import ConfigError, DataError, FingerprintError
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.streams.cdr import typestore, with_stamp

ROBOT = synthetic.embodiment(action_horizon=4)
SPECS = {spec.key: spec for spec in (*ROBOT.streams(), ROBOT.command_stream())}
MESSAGES = list(synthetic.messages(ROBOT, 1.2))
OURS = EpisodeMetadata(ROBOT, "reach", "reach the cube", "tester", 1.0, "success")
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3
TYPES = {"joints": "/franka/joint_states", "front": "/front_camera/color/image_raw", "command": "/hpt_ros/command"}

Messages = list[tuple[str, int, bytes]]


def write(
    path: Path,
    messages: Messages = MESSAGES,
    *,
    version: int = 9,
    storage: StoragePlugin = MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    custom: bool = True,
) -> Path:
    """A bag as rosbags writes it; messages arrive 1 ms after their stamps."""
    writer = Writer(path, version=version, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    if custom:
        for key, value in OURS.to_custom_data().items():
            writer.set_custom_data(key, value)
    with writer:
        connections = {
            key: writer.add_connection(spec.topic, spec.msgtype, typestore=typestore()) for key, spec in SPECS.items()
        }
        for key, at, raw in messages:
            writer.write(connections[key], at + MS, raw)
    return path


def edit_metadata(bag: Path, **changes: object) -> None:
    """Set keys of metadata.yaml; None removes one."""
    path = bag / "metadata.yaml"
    data = yaml.safe_load(path.read_text())
    information = data["rosbag2_bagfile_information"]
    for key, value in changes.items():
        information.pop(key, None)
        if value is not None:
            information[key] = value
    path.write_text(yaml.safe_dump(data))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    root = tmp_path_factory.mktemp("kinds")
    synthetic.record(root / "bags", ROBOT, iter(MESSAGES))
    convert([root / "bags"], None, root / "demos")
    return Demos.open(root / "demos")


def assert_same(found: Path, expected: Demos) -> None:
    demos = Demos.open(found)
    for name in ("state", "command", "tick_ns"):
        np.testing.assert_array_equal(getattr(demos, name), getattr(expected, name))
    for name, frames in expected.images.items():
        np.testing.assert_array_equal(demos.images[name], frames)
    assert demos.sync == expected.sync


@pytest.mark.parametrize(
    ("version", "storage", "compression"),
    [
        *itertools.product(
            (8, 9), (MCAP, SQLITE), (CompressionMode.NONE, CompressionMode.FILE, CompressionMode.MESSAGE)
        ),
        (9, MCAP, CompressionMode.STORAGE),
    ],
)
def test_versions_storages_and_compressions(tmp_path, expected, version, storage, compression) -> None:
    bag = write(tmp_path / "bag", version=version, storage=storage, compression=compression)
    convert([bag], None, tmp_path / "demos")
    assert_same(tmp_path / "demos", expected)


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize(("version", "distribution"), [(5, "humble"), (6, "iron"), (7, "iron"), (8, "jazzy")])
def test_metadata_of_older_distributions(tmp_path, expected, version, distribution, storage) -> None:
    bag = write(tmp_path / "bag", version=8, storage=storage)
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    topics = information["topics_with_message_count"]
    if version < 7:
        for topic in topics:
            del topic["topic_metadata"]["type_description_hash"]
    distro = distribution if version >= 8 else None
    custom = information["custom_data"] if version >= 6 else None
    edit_metadata(bag, version=version, topics_with_message_count=topics, ros_distro=distro, custom_data=custom)
    robot, settings = None, ConvertSettings()
    if version < 6:  # custom data came with 6: such a bag cannot say whose it is
        with pytest.raises(DataError, match="--task T --score 1"):
            convert([bag], ROBOT, tmp_path / "demos")
        robot, settings = ROBOT, ConvertSettings(outside=Outside("reach", 1.0))
    convert([bag], robot, tmp_path / "demos", settings)
    assert_same(tmp_path / "demos", expected)


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.MESSAGE])
def test_single_files_and_folders_without_metadata(tmp_path, expected, storage, compression) -> None:
    bag = write(tmp_path / "bag", storage=storage, compression=compression)
    (bag / "metadata.yaml").unlink()
    (file,) = bag.iterdir()
    assert find_bags([bag, file]) == [bag, file]
    robot, settings = None, ConvertSettings()
    if storage == SQLITE:  # rosbags' writer keeps no copy of the metadata in a database
        robot, settings = ROBOT, ConvertSettings(outside=Outside("reach", 1.0))
    report = convert([bag], robot, tmp_path / "demos", settings)
    assert_same(tmp_path / "demos", expected)
    assert [text for _, text in report.remarks] == [f"no metadata.yaml: read from {file.name}"]
    convert([file], robot, tmp_path / "single", settings)
    assert_same(tmp_path / "single", expected)


def split(tmp_path: Path) -> Path:
    """A bag in three files, as rosbag2 splits by duration."""
    bag = tmp_path / "bag"
    bag.mkdir()
    files, thirds = [], [MESSAGES[i * len(MESSAGES) // 3 : (i + 1) * len(MESSAGES) // 3] for i in range(3)]
    for number, messages in enumerate(thirds):
        whole = write(tmp_path / f"part{number}", messages)
        (whole / f"part{number}.mcap").rename(bag / f"bag_{number}.mcap")
        files.append(f"bag_{number}.mcap")
    (tmp_path / "part0" / "metadata.yaml").rename(bag / "metadata.yaml")
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    for topic in information["topics_with_message_count"]:
        key = next(key for key, spec in SPECS.items() if spec.topic == topic["topic_metadata"]["name"])
        topic["message_count"] = sum(k == key for k, _, _ in MESSAGES)
    edit_metadata(
        bag,
        relative_file_paths=files,
        message_count=len(MESSAGES),
        topics_with_message_count=information["topics_with_message_count"],
        duration={"nanoseconds": MESSAGES[-1][1] - START_NS},
    )
    for number in range(3):
        shutil.rmtree(tmp_path / f"part{number}")
    return bag


@pytest.mark.parametrize("metadata", [True, False])
def test_split_bags_are_one_episode(tmp_path, expected, metadata) -> None:
    bag = split(tmp_path)
    if not metadata:
        (bag / "metadata.yaml").unlink()
    assert find_bags([tmp_path]) == [bag]
    convert([tmp_path], None, tmp_path / "demos")
    assert_same(tmp_path / "demos", expected)


def test_loose_files_are_bags_of_their_own(tmp_path) -> None:
    for name in ("one", "two"):
        bag = write(tmp_path / name)
        (bag / f"{name}.mcap").rename(tmp_path / f"{name}.mcap")
        shutil.rmtree(bag)
    assert find_bags([tmp_path]) == [tmp_path / "one.mcap", tmp_path / "two.mcap"]
    assert convert([tmp_path], None, tmp_path / "demos").episodes == 2


def test_a_file_beside_bags_does_not_hide_them(tmp_path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name)
    (tmp_path / "two" / "two.mcap").rename(tmp_path / "loose.mcap")
    shutil.rmtree(tmp_path / "two")
    assert find_bags([tmp_path]) == [tmp_path / "loose.mcap", tmp_path / "one"]


def test_bags_of_another_recorder_need_to_be_described(tmp_path, expected) -> None:
    bag = write(tmp_path / "bag", custom=False)
    with pytest.raises(DataError, match="holds an embodiment"):
        convert([bag], None, tmp_path / "demos")
    convert([bag], ROBOT, tmp_path / "demos", ConvertSettings(outside=Outside("reach", 0.5, "take it")))
    assert_same(tmp_path / "demos", expected)
    (episode,) = Demos.open(tmp_path / "demos").episodes
    assert (episode.task, episode.score, episode.instruction) == ("reach", 0.5, "take it")
    with pytest.raises(ConfigError, match="score"):
        Outside("reach", 3.0)


def test_what_the_bag_tells_itself_is_believed(tmp_path) -> None:
    convert([write(tmp_path / "bag")], ROBOT, tmp_path / "demos", ConvertSettings(outside=Outside("push", 0.5)))
    (episode,) = Demos.open(tmp_path / "demos").episodes
    assert (episode.task, episode.score) == ("reach", 1.0)


def refused(tmp_path: Path, messages: Messages, **options: bool) -> str:
    """The line about a bag of these messages, and about nothing else."""
    write(tmp_path / "bag", messages)
    with pytest.raises(DataError) as caught:
        convert([tmp_path / "bag"], None, tmp_path / "demos", ConvertSettings(**options))
    assert not (tmp_path / "demos").exists()
    (line,) = [line for line in caught.value.message.splitlines() if str(tmp_path / "bag") in line]
    return line


def changed(key: str, from_ms: int, change) -> Messages:
    """The messages of one stream changed from a moment on."""
    return [
        (k, at, change(at, raw)) if k == key and at >= START_NS + from_ms * MS else (k, at, raw)
        for k, at, raw in MESSAGES
    ]


def nan_joint(at: int, _: bytes) -> bytes:
    positions = dict(zip(ROBOT.joints.names, synthetic.joint_values(at, 7), strict=True))
    return synthetic.joint_state(at, positions | {"panda_joint3": float("nan")})


@pytest.mark.parametrize(
    ("messages", "parts"),
    [
        (changed("joints", 600, lambda _, raw: with_stamp(raw, 0)), (TYPES["joints"], "0.60 s into", "--receive-time")),
        (
            changed("camera.front", 600, lambda at, raw: with_stamp(raw, at - 10**10)),
            (TYPES["front"], "goes back by 9.97 s", "0.63 s into", "bags trim", "--receive-time"),
        ),
        (
            [(k, at, with_stamp(raw, at + 10**11) if at >= START_NS + 600 * MS else raw) for k, at, raw in MESSAGES],
            ("goes ahead by 100.0", "into the bag", "bags trim", "--receive-time"),
        ),
        (
            changed("joints", 600, nan_joint),
            (TYPES["joints"], "panda_joint3 = nan", "s after the first tick", "driver"),
        ),
        ([m for m in MESSAGES if m[0] != "command"], (TYPES["command"], "no message on", "record it")),
        (
            [m for m in MESSAGES if m[0] != "joints"],
            (TYPES["joints"], "the bag has sensor_msgs/msg/JointState on /franka_gripper/joint_states"),
        ),
        (
            changed("camera.front", 0, lambda at, raw: with_stamp(raw, at + 3600 * 10**9)),
            ("never overlap", "camera.front 3600.00 to 3601.1", "--receive-time"),
        ),
    ],
    ids=["zero stamp", "clock back", "clock ahead", "nan", "empty topic", "other topic", "two clocks"],
)
def test_unusable_messages_are_named_with_topic_time_and_remedy(tmp_path, messages, parts) -> None:
    line = refused(tmp_path, messages)
    for part in parts:
        assert part in line


def test_receive_times_stand_in_for_useless_stamps(tmp_path, expected) -> None:
    useless = [(key, at, with_stamp(raw, 0)) for key, at, raw in MESSAGES]
    report: ConvertReport = convert(
        [write(tmp_path / "bag", useless)], None, tmp_path / "demos", ConvertSettings(receive_time=True)
    )
    demos = Demos.open(tmp_path / "demos")
    np.testing.assert_array_equal(demos.tick_ns, expected.tick_ns + MS)  # received 1 ms after they were stamped
    np.testing.assert_array_equal(demos.state, expected.state)
    assert [text for _, text in report.remarks] == ["stamped with the times of receipt"]
    assert '"receive_time": true' in (tmp_path / "demos" / "demos.json").read_text()


def test_late_arrivals_within_patience_change_nothing(tmp_path, expected) -> None:
    late = sorted(MESSAGES, key=lambda m: m[1] + (80 * MS if m[0] == "camera.wrist" else 0))
    held = [(key, MESSAGES[i][1], raw) for i, (key, _, raw) in enumerate(late)]  # times of receipt in order
    convert([write(tmp_path / "bag", held)], None, tmp_path / "demos")
    np.testing.assert_array_equal(Demos.open(tmp_path / "demos").images["wrist"], expected.images["wrist"])


@pytest.mark.parametrize("keep", [0.99, 0.4])
def test_a_cut_file_is_named_with_its_remedy(tmp_path, keep) -> None:
    bag = write(tmp_path / "bag")
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: round(keep * file.stat().st_size)])
    write(tmp_path / "good")
    with pytest.raises(DataError, match=r"bag: not a readable bag: .*mcap recover"):
        convert([bag, tmp_path / "good"], None, tmp_path / "demos")
    assert convert([bag, tmp_path / "good"], None, tmp_path / "demos", allow_skips=True).episodes == 1


def test_damage_inside_a_file_is_found(tmp_path) -> None:
    bag = synthetic.record(tmp_path / "bags", ROBOT, iter(MESSAGES))
    (file,) = bag.glob("*.mcap")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(DataError, match="the bag's data is damaged"):
        convert([bag], None, tmp_path / "demos")


def test_another_definition_is_found_without_a_hash(tmp_path) -> None:
    bag = write(tmp_path / "bag")
    (file,) = bag.glob("*.mcap")
    text = b"float64[] position"
    assert text in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(text, b"float32[] position"))
    (bag / "metadata.yaml").unlink()
    with pytest.raises(DataError, match="another definition of"):
        convert([bag], None, tmp_path / "demos")


def test_commands_of_before_interventions_are_read(tmp_path) -> None:
    bag = write(tmp_path / "bag")
    (file,) = bag.glob("*.mcap")
    field = b"bool intervention"
    assert field in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(field, b"#" + field[1:]))
    (bag / "metadata.yaml").unlink()
    assert convert([bag], None, tmp_path / "demos").episodes == 1


def test_two_embodiments_do_not_mix(tmp_path) -> None:
    synthetic.record(tmp_path / "bags", ROBOT, iter(MESSAGES))
    other = replace(ROBOT, policy=replace(ROBOT.policy, rate_hz=10))
    bag = synthetic.record(tmp_path / "bags", other, synthetic.messages(other, 1.0))
    for workers in (1, 2):
        with pytest.raises(FingerprintError, match=rf"(?s){bag}.*rate_hz"):
            convert([tmp_path / "bags"], None, tmp_path / "demos", allow_skips=True, workers=workers)
    assert not (tmp_path / "demos").exists()
