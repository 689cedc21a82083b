"""Foreign messages of one topic -> bytes of the ROS 2 type that the type map names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from hpt_ros.demos.type_map import ReadAs, TypeMap, picked
from hpt_ros.embodiment.schema import JOINT_STATE
from hpt_ros.errors import DataError
from hpt_ros.streams.cdr import typestore

Convert = Callable[[bytes], bytes]


def reader_of(connection: Connection, ros1: bool, types: TypeMap) -> tuple[str, Convert | None]:
    """The ROS 2 type that a topic's messages are read as, and how; None: they are read as they are.

    Raises:
        DataError: the map does not name it, its definition is known nowhere, or the two do not fit.
    """
    wanted = types.of(connection.topic, connection.msgtype)
    if wanted is None and ros1:
        raise DataError(
            f"{connection.topic} holds ROS 1's {connection.msgtype}, and the type map names neither",
            f"add a line to it, such as {connection.topic}: {JOINT_STATE}",
        )
    if wanted is None:
        return connection.msgtype, None
    store = _store(connection, ros1, types)
    if wanted.fields:
        return wanted.type, _by_fields(connection.msgtype, wanted, store, ros1)
    _require_same(connection.msgtype, wanted.type, store)
    known = typestore()
    return wanted.type, (lambda raw: bytes(known.ros1_to_cdr(raw, wanted.type))) if ros1 else None


def _store(connection: Connection, ros1: bool, types: TypeMap) -> Typestore:
    """Definitions that hold the topic's type: the bag's own, then those given, then those of the distribution."""
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_KILTED)
    for name, text in types.definitions.items():
        _register(store, text, name)
    if connection.msgdef.format is MessageDefinitionFormat.MSG and connection.msgdef.data:
        _register(store, connection.msgdef.data, connection.msgtype)
    if unknown := _unknown(store, connection.msgtype):
        raise DataError(
            f"{connection.topic} holds {connection.msgtype}: no definition of {unknown} in the bag",
            "give its .msg file, or a folder that holds it, with --msg-path",
        )
    return store


def _unknown(store: Typestore, name: str) -> str:
    """The first type inside a type that the store does not know; empty if it knows all."""
    if name not in store.fielddefs:
        return name
    inner = [
        about[0] if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) else (kind, about)
        for _, kind, about in _fields(store, name)
    ]
    return next((found for kind, about in inner if kind is Nodetype.NAME and (found := _unknown(store, about))), "")


def _fields(store: Typestore, name: str) -> list[tuple[str, Any, Any]]:
    """Name, node type and description of each field of a type, as rosbags parses them."""
    return [(field, kind, about) for field, (kind, about) in store.fielddefs[name][1]]


def _register(store: Typestore, text: str, name: str) -> None:
    """Add definitions; one that the store knows otherwise is replaced: the bag was written with this one."""
    try:
        found = get_types_from_msg(text, name)
    except TypesysError as error:
        raise DataError(
            f"the definition of {name} cannot be read: {error}", "give its .msg file with --msg-path"
        ) from error
    for other in found:
        if other != "std_msgs/msg/Header":
            store.fielddefs.pop(other, None)
    store.register({key: value for key, value in found.items() if key not in store.fielddefs})


def _require_same(theirs: str, ours: str, store: Typestore) -> None:
    found, expected = _shape(store, theirs), _shape(typestore(), ours)
    if found != expected:
        raise DataError(
            f"{theirs} is not {ours}: it has {', '.join(f'{name}: {kind}' for name, kind in found)}",
            "say in the type map which field is which: fields: {...}",
        )


def _shape(store: Typestore, name: str) -> list[tuple[str, str]]:
    """Names and types of the fields, all the way down, but for the `seq` that only headers of ROS 1 have."""
    fields = []
    for field, kind, about in _fields(store, name):
        if (name, field) != ("std_msgs/msg/Header", "seq"):
            fields += _spread(store, field, kind, about)
    return fields


def _spread(store: Typestore, field: str, kind: Any, about: Any) -> list[tuple[str, str]]:
    if kind is Nodetype.NAME:
        return [(f"{field}.{name}", text) for name, text in _shape(store, about)]
    if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        (inner, what), length = about
        return [(f"{name}[{length or ''}]", text) for name, text in _spread(store, field, inner, what)]
    return [(field, str(about[0]))]


def _by_fields(theirs: str, wanted: ReadAs, store: Typestore, ros1: bool) -> Convert:
    known = typestore()
    decode = store.deserialize_ros1 if ros1 else store.deserialize_cdr

    def convert(raw: bytes) -> bytes:
        try:
            values = picked(decode(raw, theirs), wanted.fields)
            message = _message(known, wanted.type, values)
            return bytes(known.serialize_cdr(message, wanted.type))
        except (SerdeError, AttributeError, TypeError, ValueError) as error:
            raise DataError(f"a {theirs} cannot be read as {wanted.type}: {error}", "correct the type map") from error

    return convert


def _message(store: Typestore, name: str, values: dict[str, Any]) -> Any:
    """A message of these values; what is not among them is empty."""
    fields = {}
    for field, kind, about in _fields(store, name):
        if kind is Nodetype.NAME:
            fields[field] = _copied(store, about, values.get(field))
        elif kind is Nodetype.SEQUENCE and about[0][1][0] != "string":
            fields[field] = np.asarray(values.get(field, ()), dtype=about[0][1][0])
        elif kind is Nodetype.SEQUENCE:
            fields[field] = [str(item) for item in values.get(field, ())]
        else:
            fields[field] = values.get(field, "" if about[0] == "string" else 0)
    return store.types[name](**fields)


def _copied(store: Typestore, name: str, value: Any) -> Any:
    """A nested message with the values of one of another distribution that has these fields among its own."""
    inner = {field: getattr(value, field) for field, _, _ in _fields(store, name)}
    return _message(store, name, inner)
