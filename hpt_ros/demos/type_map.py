"""Messages of types that this package does not read, as types that it does: ROS 1 bags, and a lab's own messages.

A type map is a YAML file of topics or types of the bag and the ROS 2 type that each is read as; see docs/convert.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.typesys import TypesysError, get_types_from_msg

from hpt_ros.configuration import check, from_mapping, load_yaml
from hpt_ros.embodiment.schema import COMMAND, COMPRESSED_IMAGE, IMAGE, JOINT_STATE
from hpt_ros.errors import ConfigError, DataError

NEEDED = {
    JOINT_STATE: ("header", "name", "position"),
    COMMAND: ("header", "names", "position"),
    IMAGE: ("header", "height", "width", "encoding", "is_bigendian", "step", "data"),
    COMPRESSED_IMAGE: ("header", "format", "data"),
}
"""The types that an episode is made of, and the fields without which they say nothing; the others stay empty."""


@dataclass(frozen=True)
class ReadAs:
    """Read a message as the ROS 2 type `type`. `fields`: for each field of it where it comes from, such as `state.q`; none: by the same names and types."""

    type: str
    fields: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", full_name(self.type))
        check(self.type in NEEDED, "type", self.type, f"one of {', '.join(NEEDED)}")
        missing = [name for name in NEEDED[self.type] if self.fields and name not in self.fields]
        check(not missing, "fields", list(self.fields), f"where {', '.join(missing)} of {self.type} come from, as well")


@dataclass(frozen=True)
class TypeMap:
    """How foreign messages are read. `entries`: by topic (`/arm/state`) or by type of the bag (`my_msgs/msg/ArmState`), topics
    first. `definitions`: text of .msg files by type, for bags that do not hold them.
    """

    entries: dict[str, ReadAs] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)

    def of(self, topic: str, msgtype: str) -> ReadAs | None:
        """How a topic's messages are read; None: as they are."""
        return self.entries.get(topic) or self.entries.get(msgtype)


def full_name(msgtype: str) -> str:
    """`sensor_msgs/JointState`, as ROS 1 says, is `sensor_msgs/msg/JointState`."""
    parts = msgtype.split("/")
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else msgtype


def load_type_map(path: Path | None, msg_paths: list[Path]) -> TypeMap | None:
    """The map in a YAML file, with the definitions below `msg_paths`; None without any.

    Raises:
        ConfigError: an entry that cannot be accepted.
        DataError: a .msg file that cannot be read.
    """
    if path is None and not msg_paths:
        return None
    entries = {}
    for key, value in (load_yaml(path) if path else {}).items():
        as_mapping = {"type": value} if isinstance(value, str) else value
        try:
            entries[key if key.startswith("/") else full_name(key)] = from_mapping(ReadAs, as_mapping)
        except ConfigError as error:
            raise error.under(f"{path}: {key}.") from None
    return TypeMap(entries, {name: text for folder in msg_paths for name, text in _definitions(folder).items()})


def _definitions(path: Path) -> dict[str, str]:
    """By type: a .msg file, or those in a folder and below it. The package is the folder that holds `msg/`."""
    files = [path] if path.is_file() else sorted(path.rglob("*.msg"))
    if not files:
        raise DataError(f"{path}: no .msg file", "give a .msg file, or a folder with PACKAGE/msg/NAME.msg below it")
    return {f"{_package(file)}/msg/{file.stem}": _text(file) for file in files}


def _package(file: Path) -> str:
    folder = file.resolve().parent
    return folder.parent.name if folder.name == "msg" else folder.name


def _text(file: Path) -> str:
    try:
        text = file.read_text()
        get_types_from_msg(text, f"{_package(file)}/msg/{file.stem}")
    except (OSError, UnicodeDecodeError, TypesysError) as error:
        raise DataError(
            f"{file}: not a message definition: {error}", "correct it, or leave it out of --msg-path"
        ) from error
    return text


def picked(message: Any, fields: Mapping[str, str]) -> dict[str, Any]:
    """The values of a message by our names.

    Raises:
        DataError: it has no such field.
    """
    return {ours: _value(message, theirs) for ours, theirs in fields.items()}


def _value(message: Any, path: str) -> Any:
    value = message
    for name in path.split("."):
        if not hasattr(value, name):
            known = ", ".join(vars(value)) if hasattr(value, "__dict__") else "none"
            raise DataError(f"{message.__msgtype__} has no field {path}; fields there: {known}", "correct the type map")
        value = getattr(value, name)
    return value
