"""MCAP records (https://mcap.dev/spec): their layout, and a walk that checks every chunk and ends at damage."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from hpt_ros.errors import DataError
from hpt_ros.recording.checksum import crc32

MAGIC = b"\x89MCAP0\r\n"
HEAD = struct.Struct("<BQ")  # opcode, length of the content
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time; then the data
CHUNK = struct.Struct("<QQQI")  # first and last log time, uncompressed size, CRC; then compression and records


class Op(IntEnum):
    """Opcodes that this package writes or reads."""

    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


class DamageError(DataError):
    """The file ends or goes wrong at `offset`; what the walk gave before is whole."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"at byte {offset}: {reason}")
        self.offset = offset


class Channel(NamedTuple):
    """A topic of the file; `metadata` holds rosbag2's `offered_qos_profiles`."""

    number: int
    topic: str
    msgtype: str
    metadata: dict[str, str]


class Message(NamedTuple):
    """A message of the file; times in ns of the recorder's clock."""

    channel: Channel
    sequence: int
    log_ns: int
    publish_ns: int
    raw: bytes


class Notes(NamedTuple):
    """A metadata record."""

    name: str
    values: dict[str, str]


def record(op: Op, content: bytes) -> bytes:
    """One record with its head."""
    return HEAD.pack(op, len(content)) + content


def text(value: str) -> bytes:
    """A string as records hold it."""
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def mapping(values: dict[str, str]) -> bytes:
    """A map of strings as records hold it."""
    data = b"".join(text(key) + text(value) for key, value in values.items())
    return struct.pack("<I", len(data)) + data


def walk(path: Path) -> Iterator[Notes | Channel | Message]:
    """What the file's data section holds, in the order in which it was written; memory stays below a few chunks.

    Raises:
        DamageError: the file ends before its end mark, or a record or the CRC of a chunk is wrong.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DamageError(0, "not an MCAP file")
        walker = _Walker()
        for offset, op, content in _records(file):
            if op == Op.DATA_END:
                return
            try:
                yield from walker.items(op, content)
            except (struct.error, KeyError, UnicodeDecodeError, ValueError, zstd.ZstdError) as error:
                raise DamageError(offset, f"malformed record {op:#04x}: {error}") from error


def _records(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """(offset, opcode, content) of every record from here on."""
    size = file.seek(0, 2)
    offset = file.seek(len(MAGIC))
    while True:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            raise DamageError(offset, "the file ends without an end mark")
        op, length = HEAD.unpack(head)
        end = offset + HEAD.size + length
        if op == 0 or end > size:
            raise DamageError(offset, f"a record of {length} bytes, {size - offset - HEAD.size} are left")
        yield offset, op, file.read(length)
        offset = end


class _Walker:
    """Keeps the schemas and channels that later records refer to."""

    def __init__(self) -> None:
        self._types: dict[int, str] = {0: ""}
        self._channels: dict[int, Channel] = {}

    def items(self, op: int, content: bytes) -> Iterator[Notes | Channel | Message]:
        if op == Op.MESSAGE:
            number, sequence, log_ns, publish_ns = MESSAGE.unpack_from(content)
            yield Message(self._channels[number], sequence, log_ns, publish_ns, content[MESSAGE.size :])
        elif op == Op.CHUNK:
            yield from self._chunk(content)
        elif op == Op.SCHEMA:
            self._types[struct.unpack_from("<H", content)[0]] = _Fields(content, 2).text()
        elif op == Op.CHANNEL:
            yield self._channel(content)
        elif op == Op.METADATA:
            fields = _Fields(content, 0)
            yield Notes(fields.text(), fields.mapping())

    def _channel(self, content: bytes) -> Channel:
        number, schema = struct.unpack_from("<HH", content)
        fields = _Fields(content, 4)
        topic, _ = fields.text(), fields.text()
        self._channels[number] = Channel(number, topic, self._types[schema], fields.mapping())
        return self._channels[number]

    def _chunk(self, content: bytes) -> Iterator[Notes | Channel | Message]:
        _, _, size, crc = CHUNK.unpack_from(content)
        fields = _Fields(content, CHUNK.size)
        compression = fields.text()
        data = memoryview(content)[fields.at + 8 :]
        if compression not in ("", "zstd"):
            raise ValueError(f"compression {compression!r}, known are none and zstd")
        records = zstd.decompress(data) if compression else data
        if len(records) != size or (crc and crc32(records) != crc):
            raise ValueError("the chunk's checksum is wrong")
        at = 0
        while at < size:
            op, length = HEAD.unpack_from(records, at)
            at += HEAD.size + length
            yield from self.items(op, bytes(records[at - length : at]))


class _Fields:
    """Reads strings and maps one after the other."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self.at = at

    def text(self) -> str:
        (length,) = struct.unpack_from("<I", self._content, self.at)
        start = self.at + 4
        self.at = start + length
        return str(self._content[start : self.at], "utf8")

    def mapping(self) -> dict[str, str]:
        (length,) = struct.unpack_from("<I", self._content, self.at)
        self.at += 4
        end = self.at + length
        values = {}
        while self.at < end:
            key = self.text()
            values[key] = self.text()
        return values
