"""Reading the chunks of an indexed MCAP file at the speed of memory: rosbags' reader with its innermost loop replaced."""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Collection, Generator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, decompress

from hpt_ros.recording.checksum import crc32

if TYPE_CHECKING:
    from rosbags.rosbag2.reader import ReaderProtocol

_Message = tuple[Connection, int, bytes]
_RECORD = struct.Struct("<BQ")  # opcode, length of what follows
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_MESSAGE_OP = 0x05
_CRC_AT, _COMPRESSION_AT = 9 + 24, 9 + 28  # in a chunk's record
_VIEW_BYTES = 1 << 14  # a smaller message is copied, a larger one keeps its chunk in memory
_Placed = tuple[int, int, Connection, bytes]  # log time, place of the chunk in the file
_time, _time_and_place = itemgetter(0), itemgetter(0, 1)


class ChunkReader(McapReader):
    """`McapReader` that takes a message out of its chunk in one step; the order is the same: by log time, then by place in the file."""

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Generator[_Message, None, None]:
        """(connection, log time [ns], serialized message): bytes, or a view of them; all of it from `start` to before `stop`."""
        if not self.chunks:
            yield from super().messages(connections, start, stop)
            return
        wanted = {connection.id: connection for connection in connections}
        first, end = start or 0, stop if stop is not None else 1 << 64
        pending: list[_Placed] = []
        for chunk in sorted(self.chunks, key=lambda chunk: (chunk.message_start_time, chunk.chunk_start_offset)):
            if chunk.message_end_time < first or chunk.message_start_time >= end:
                continue
            if not any(chunk.channel_count.get(number) for number in wanted):
                continue
            done = bisect_left(pending, chunk.message_start_time, key=_time)
            for log_ns, _, connection, data in pending[:done]:
                yield connection, log_ns, data
            del pending[:done]
            pending += self._records(chunk, wanted, first, end)
            pending.sort(key=_time_and_place)
        for log_ns, _, connection, data in pending:
            yield connection, log_ns, data

    def _records(self, chunk: ChunkInfo, wanted: Mapping[int, Connection], start: int, stop: int) -> list[_Placed]:
        place = chunk.chunk_start_offset
        record = self._mapped(place, chunk.chunk_length)
        (crc,) = struct.unpack_from("<I", record, _CRC_AT)
        content = record[_COMPRESSION_AT + 4 + len(chunk.compression) + 8 :][: chunk.compressed_size]
        records = decompress(content, chunk.compression, chunk.uncompressed_size, 0)  # type: ignore[arg-type]
        if crc and crc32(records) != crc:
            raise ReaderError("Chunk checksum mismatch.")
        view, found, at, end = memoryview(records), [], 0, len(records)
        while at < end:
            operation, length = _RECORD.unpack_from(view, at)
            body, at = at + _RECORD.size, at + _RECORD.size + length
            if at > end or (operation == _MESSAGE_OP and length < _MESSAGE.size):
                raise ReaderError(f"a record of {length} bytes does not fit into its chunk")
            if operation != _MESSAGE_OP:
                continue
            channel, _, log_ns, _ = _MESSAGE.unpack_from(view, body)
            connection = wanted.get(channel)
            if connection is not None and start <= log_ns < stop:
                data = view[body + _MESSAGE.size : at]
                found.append((log_ns, place, connection, bytes(data) if len(data) < _VIEW_BYTES else data))
        return found  # type: ignore[return-value]

    def _mapped(self, start: int, length: int) -> memoryview:
        """Bytes of the file, read when they are looked at: of most images, nothing but the header is."""
        assert self.bio
        number = self.bio.fileno()
        if start + length > os.fstat(number).st_size:
            raise ReaderError(f"the file ends within the chunk at byte {start}")
        before = start % mmap.ALLOCATIONGRANULARITY
        pages = mmap.mmap(number, before + length, access=mmap.ACCESS_READ, offset=start - before)
        return memoryview(pages)[before:]


class _DirectoryReader(DirectoryReader):
    STORAGE_PLUGINS: Mapping[str, type[ReaderProtocol]] = {**DirectoryReader.STORAGE_PLUGINS, "mcap": ChunkReader}


class FastReader(Reader):
    """rosbags' `Reader` for bag folders and files, with `ChunkReader` for MCAP."""

    STORAGE_PLUGINS: Mapping[str, type[ReaderProtocol]] = {
        **Reader.STORAGE_PLUGINS,
        "dir": _DirectoryReader,
        ".mcap": ChunkReader,
    }
