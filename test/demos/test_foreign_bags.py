"""Bags of ROS 1 and of a lab's own messages give the same demonstrations, once a type map says what they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import yaml
from rosbags import rosbag1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from synthetic import MS
from typer.testing import CliRunner

from hpt_ros.cli.main import app
from hpt_ros.demos import Demos, convert
from hpt_ros.demos.bag import find_bags
from hpt_ros.demos.settings import ConvertSettings, Outside
from hpt_ros.demos.type_map import TypeMap, load_type_map
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.streams.cdr import decode, typestore

ROBOT = synthetic.embodiment(action_horizon=4)
SPECS = {spec.key: spec for spec in (*ROBOT.streams(), ROBOT.command_stream())}
MESSAGES = list(synthetic.messages(ROBOT, 1.2))
COMMAND, JOINTS = SPECS["command"], SPECS["joints"]
OWN = "my_msgs/msg/ArmTarget"
OWN_TEXT = "std_msgs/Header header\nTarget wanted\nuint8 mode\n"
PART_TEXT = "string[] joints\nfloat32[] q\n"  # the commands of `synthetic` survive 32 bits of their own
OWN_MAP: dict[str, Any] = {
    "type": "hpt_ros/msg/Command",
    "fields": {"header": "header", "names": "wanted.joints", "position": "wanted.q"},
}
ROS1_MAP: dict[str, Any] = {
    "sensor_msgs/JointState": "sensor_msgs/msg/JointState",
    "sensor_msgs/Image": "sensor_msgs/msg/Image",
    SPECS["camera.wrist"].topic: "sensor_msgs/CompressedImage",
    "my_msgs/ArmTarget": OWN_MAP,
}


def own_store(base: Stores) -> Any:
    store = get_typestore(base)
    store.register(get_types_from_msg(OWN_TEXT, OWN) | get_types_from_msg(PART_TEXT, "my_msgs/msg/Target"))
    return store


def own_message(store: Any, raw: bytes, **header: Any) -> Any:
    """A command as the lab's own message."""
    command, types = decode(raw, COMMAND.msgtype), store.types
    stamp = types["builtin_interfaces/msg/Time"](command.header.stamp.sec, command.header.stamp.nanosec)
    target = types["my_msgs/msg/Target"](list(command.names), command.position.astype(np.float32))
    return types[OWN](types["std_msgs/msg/Header"](stamp=stamp, frame_id="", **header), target, 3)


def ros1_bag(path: Path) -> Path:
    store = own_store(Stores.ROS1_NOETIC)
    with rosbag1.Writer(path) as writer:
        kinds = {key: OWN if key == "command" else spec.msgtype for key, spec in SPECS.items()}
        connections = {k: writer.add_connection(SPECS[k].topic, kind, typestore=store) for k, kind in kinds.items()}
        for key, at, raw in MESSAGES:
            if key == "command":
                data = store.serialize_ros1(own_message(store, raw, seq=7), OWN)
            else:
                data = typestore().cdr_to_ros1(raw, kinds[key])
            writer.write(connections[key], at + MS, data)
    return path


def ros2_bag(path: Path, storage: StoragePlugin) -> Path:
    """Commands are the lab's own; a database holds no definitions, as those of Humble."""
    store = own_store(Stores.ROS2_KILTED)
    with Writer(path, version=9, storage_plugin=storage) as writer:
        kinds = {key: OWN if key == "command" else spec.msgtype for key, spec in SPECS.items()}
        connections = {k: writer.add_connection(SPECS[k].topic, kind, typestore=store) for k, kind in kinds.items()}
        for key, at, raw in MESSAGES:
            data = store.serialize_cdr(own_message(store, raw), OWN) if key == "command" else raw
            writer.write(connections[key], at + MS, data)
    if storage == StoragePlugin.SQLITE3:
        with closing(sqlite3.connect(path / f"{path.name}.db3")) as database:
            database.executescript("UPDATE schema SET schema_version = 3; DROP TABLE message_definitions")
    return path


@pytest.fixture(scope="module")
def ros1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ros1_bag(tmp_path_factory.mktemp("ros1") / "demo_0.bag")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    root = tmp_path_factory.mktemp("expected")
    synthetic.record(root / "bags", ROBOT, iter(MESSAGES))
    convert([root / "bags"], None, root / "demos")
    return Demos.open(root / "demos")


@pytest.fixture
def msg_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "src" / "my_msgs" / "msg"
    folder.mkdir(parents=True)
    (folder / "ArmTarget.msg").write_text(OWN_TEXT)
    (folder / "Target.msg").write_text(PART_TEXT)
    return tmp_path / "src"


def type_map(tmp_path: Path, entries: dict[str, Any], *msg_paths: Path) -> TypeMap:
    (tmp_path / "types.yaml").write_text(yaml.safe_dump(entries))
    types = load_type_map(tmp_path / "types.yaml", list(msg_paths))
    assert types is not None
    return types


def converted(bag: Path, out: Path, types: TypeMap | None, workers: int = 1) -> Demos:
    settings = ConvertSettings(outside=Outside("reach", 1.0), types=types)
    convert([bag], ROBOT, out, settings, workers=workers)
    return Demos.open(out)


def assert_same(found: Demos, expected: Demos) -> None:
    np.testing.assert_array_equal(found.tick_ns, expected.tick_ns)
    np.testing.assert_array_equal(found.state, expected.state)
    np.testing.assert_array_equal(found.command, expected.command)
    for name, frames in expected.images.items():
        np.testing.assert_array_equal(found.images[name][:], frames[:])


def test_a_ros1_bag_is_read_with_its_own_stamps(ros1: Path, expected: Demos, tmp_path: Path) -> None:
    assert find_bags([ros1.parent]) in ([ros1], [ros1.parent])
    for workers in (1, 2):
        assert_same(converted(ros1, tmp_path / f"demos{workers}", type_map(tmp_path, ROS1_MAP), workers), expected)


def test_ros1_files_of_one_folder_are_episodes_of_their_own(ros1: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    for number in range(2):
        (folder / f"demo_{number}.bag").symlink_to(ros1)
    assert find_bags([folder]) == [folder / "demo_0.bag", folder / "demo_1.bag"]


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_own_messages_are_read_by_their_fields(
    storage: StoragePlugin, expected: Demos, tmp_path: Path, msg_folder: Path
) -> None:
    bag = ros2_bag(tmp_path / "bag", storage)
    entries = {COMMAND.topic: OWN_MAP}
    if storage == StoragePlugin.SQLITE3:
        with pytest.raises(
            DataError, match=rf"{COMMAND.topic} holds {OWN}: no definition of {OWN} in the bag.*--msg-path"
        ):
            converted(bag, tmp_path / "without", type_map(tmp_path, entries))
        types = type_map(tmp_path, entries, msg_folder)
    else:
        types = type_map(tmp_path, entries)
    assert_same(converted(bag, tmp_path / "demos", types), expected)


def test_single_msg_files_do_as_well(tmp_path: Path, msg_folder: Path, expected: Demos) -> None:
    bag = ros2_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    files = [msg_folder / "my_msgs" / "msg" / name for name in ("ArmTarget.msg", "Target.msg")]
    with pytest.raises(DataError, match="no definition of my_msgs/msg/Target in the bag"):
        converted(bag, tmp_path / "half", type_map(tmp_path, {OWN: OWN_MAP}, files[0]))
    assert_same(converted(bag, tmp_path / "demos", type_map(tmp_path, {OWN: OWN_MAP}, *files)), expected)


def refusal(work: Callable[[], Any]) -> str:
    with pytest.raises(DataError) as caught:
        work()
    return str(caught.value)


def test_what_the_map_lacks_or_gets_wrong_is_named(ros1: Path, tmp_path: Path) -> None:
    def attempt(changes: dict[str, Any]) -> str:
        entries = {key: value for key, value in (ROS1_MAP | changes).items() if value is not None}
        return refusal(lambda: converted(ros1, tmp_path / "demos", type_map(tmp_path, entries)))

    assert "how its messages are read must be said" in refusal(lambda: converted(ros1, tmp_path / "demos", None))
    text = attempt({"sensor_msgs/JointState": None})
    assert f"{JOINTS.topic} holds ROS 1's sensor_msgs/msg/JointState" in text
    assert f"{JOINTS.topic}: sensor_msgs/msg/JointState" in text
    assert "wanted.joints[]: string" in attempt({"my_msgs/ArmTarget": "hpt_ros/msg/Command"})
    wrong = OWN_MAP | {"fields": OWN_MAP["fields"] | {"position": "wanted.angles"}}
    assert "has no field wanted.angles; fields there: joints, q" in attempt({"my_msgs/ArmTarget": wrong})
    assert "expected sensor_msgs/msg/JointState" in attempt(
        {JOINTS.topic: "sensor_msgs/msg/JointState"}
        | {
            "/franka_gripper/joint_states": {
                "type": "hpt_ros/msg/Command",
                "fields": {"header": "header", "names": "name", "position": "position"},
            }
        }
    )
    assert not (tmp_path / "demos").exists()


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            {"type": "geometry_msgs/msg/Pose"},
            r"/arm\.type: found 'geometry_msgs/msg/Pose', allowed: one of sensor_msgs",
        ),
        ({"type": "hpt_ros/msg/Command", "fields": {"position": "q"}}, r"/arm\.fields: .*header, names of hpt_ros"),
        ({"typ": "hpt_ros/msg/Command"}, r"/arm\.typ: found 'an unknown key'"),
        (3, r"/arm\.ReadAs: found 3"),
    ],
)
def test_bad_maps_are_refused_with_the_path_of_the_key(entry: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=text):
        type_map(tmp_path, {"/arm": entry})


def test_msg_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.msg file"):
        type_map(tmp_path, {}, tmp_path)
    (tmp_path / "Bad.msg").write_text("float64 [ x\n")
    with pytest.raises(DataError, match=r"Bad\.msg: not a message definition"):
        type_map(tmp_path, {}, tmp_path / "Bad.msg")


def test_commands_say_what_they_cannot_read_and_convert_takes_the_options(ros1: Path, tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["bags", "list", str(ros1)])
    assert "a bag of ROS 1" in " ".join(listed.output.split())
    (tmp_path / "types.yaml").write_text(yaml.safe_dump(ROS1_MAP))
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(_plain()))
    options = ["--embodiment", str(tmp_path / "robot.yaml"), "--task", "reach", "--score", "1", "--workers", "1"]
    made = ["convert", str(ros1), "--out", str(tmp_path / "demos"), "--type-map", str(tmp_path / "types.yaml")]
    result = CliRunner().invoke(app, [*made, *options])
    assert result.exit_code == 0, result.output
    assert "ROS 1: read from demo_0.bag" in " ".join(result.output.split())


def _plain() -> dict[str, Any]:
    from hpt_ros.embodiment import embodiment_to

    return embodiment_to(ROBOT)
