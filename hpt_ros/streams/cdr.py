"""Serialized ROS messages: the header stamp without decoding, and one decoder for live and recorded bytes."""

from __future__ import annotations

import functools
import struct
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from hpt_ros.errors import StreamError
from hpt_ros.paths import share_dir

NS_PER_S = 1_000_000_000
_PAST_STAMP = 12
_FIXED_BYTES = 256  # header, sizes and encoding of an image, with padding that may hold anything, lie before this
_PROBES = 8
_STAMP_BY_ENCAPSULATION = {b"\x00\x01": struct.Struct("<iI"), b"\x00\x00": struct.Struct(">iI")}


def header_stamp_ns(raw: bytes) -> int:
    """`header.stamp` [ns] of a serialized message whose first field is a std_msgs/Header.

    Plain CDR (DDSI-RTPS 10.2.1.2): two bytes of encapsulation (00 00 big-endian, 00 01 little-endian), two of options,
    then the fields; `sec` and `nanosec` are the first eight bytes of the header.

    Raises:
        StreamError: the bytes are not plain CDR, or the stamp is zero, negative or malformed.
    """
    seconds, nanoseconds = _stamp_layout(raw).unpack_from(raw, 4)
    if seconds < 0 or nanoseconds >= NS_PER_S or not (seconds or nanoseconds):
        raise StreamError(
            f"header stamp {seconds} s {nanoseconds} ns is not a time",
            "make the publisher stamp its messages when the data is measured",
        )
    return seconds * NS_PER_S + nanoseconds  # type: ignore[no-any-return]


def same_payload(first: bytes, second: bytes) -> bool:
    """Whether two messages differ in nothing but their header; a few probes spare most frames the whole comparison."""
    if len(first) != len(second):
        return False
    if len(first) <= _FIXED_BYTES:
        return first[_PAST_STAMP:] == second[_PAST_STAMP:]
    step = (len(first) - _FIXED_BYTES) // _PROBES + 1
    for at in range(_FIXED_BYTES, len(first), step):
        if first[at : at + 64] != second[at : at + 64]:
            return False
    return first[_FIXED_BYTES:] == second[_FIXED_BYTES:]


def _stamp_layout(raw: bytes) -> struct.Struct:
    layout = _STAMP_BY_ENCAPSULATION.get(bytes(raw[:2]))  # the hash of a view would be of all that it views
    if layout is None or len(raw) < 12:
        raise StreamError(f"{len(raw)} bytes starting with {raw[:4].hex(' ')!r} are not a CDR message with a header")
    return layout


def with_stamp(raw: bytes, stamp_ns: int) -> bytes:
    """The message with another `header.stamp` [ns].

    Raises:
        StreamError: the bytes are not plain CDR.
    """
    layout = _stamp_layout(raw)
    return raw[:4] + layout.pack(stamp_ns // NS_PER_S, stamp_ns % NS_PER_S) + raw[12:]


@functools.cache
def typestore() -> Typestore:
    """Definitions of the ROS 2 common interfaces and of this package's messages."""
    store = get_typestore(Stores.ROS2_KILTED)
    for path in sorted((share_dir() / "msg").glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(), f"hpt_ros/msg/{path.stem}"))
    return store


def decode(raw: bytes, msgtype: str) -> Any:
    """The message as a dataclass of rosbags; numeric arrays are numpy arrays that may share memory with `raw`.

    Raises:
        StreamError: the bytes are not a message of that type.
    """
    try:
        return typestore().deserialize_cdr(raw, msgtype)
    except SerdeError as error:
        raise StreamError(f"not a {msgtype}: {error}") from error
