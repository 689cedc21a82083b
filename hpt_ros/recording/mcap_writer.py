"""An MCAP file of ROS 2 messages, written by a thread of its own (https://mcap.dev/spec, profile `ros2`).

Own code because a recorder must cost little: a message is one packed head and a reference to its bytes; checksum,
compression and system calls happen once per chunk, outside the thread that receives.
"""

from __future__ import annotations

import errno
import os
import queue
import struct
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from hpt_ros.heap import give_back
from hpt_ros.recording.checksum import crc32
from hpt_ros.recording.mcap_records import CHUNK, HEAD, MAGIC, MESSAGE, Op, mapping, record, text

CHUNK_BYTES = 4 << 20
CHUNK_NS = 1_000_000_000  # a crash costs at most this much of an episode that was not stopped
QUEUE_BYTES = 256 << 20  # four seconds of two raw 640 x 480 cameras; a disk that stalls for longer is an error
SLOW_DISK_BYTES = 64 << 20  # a second of them: whoever records is told
_BURST_BYTES = 32 << 20  # waited for a disk that stalled: then the memory is given back
_MESSAGE = struct.Struct("<BQHIQQ")
_ABORT_S = 0.2
_LARGE_BYTES = 1 << 16
_NEVER = 2**63 - 1


class _Chunk:
    """Messages that go to the disk together."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.index: dict[int, array[int]] = {}  # by channel: log time, offset, log time, offset ...
        self.first_ns, self.last_ns = _NEVER, 0


class McapWriter:
    """Appends schemas, channels and messages; `close` adds the index that readers seek with.

    The data of each chunk is on the disk (fdatasync) soon after the chunk is full, and leaves the page cache: a recorder
    that fills the machine's memory with pages nobody reads slows everything else down.

    Raises:
        OSError: from any method, once the disk has refused, or when `QUEUE_BYTES` wait for it.
        FileExistsError: `path` exists.
    """

    def __init__(self, path: Path, library: str, compress: bool = False) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._compress = compress
        self._chunk = _Chunk()
        self._queue: queue.SimpleQueue[bytes | _Chunk | None] = queue.SimpleQueue()
        self._waiting_bytes = 0  # handed over minus written; both threads add to it under the lock
        self._lock = threading.Lock()
        self._error: OSError | None = None
        self._abandoned = self._written_out = False
        self._schemas: list[bytes] = []
        self._channels: list[bytes] = []
        self.counts: dict[int, int] = {}
        # of the writing thread until it has ended
        self._offset = 0
        self._chunk_index: list[bytes] = []
        self._metadata_index: list[bytes] = []
        self.first_ns, self.last_ns = _NEVER, 0
        self._thread = threading.Thread(target=self._run, name="mcap", daemon=True)
        self._thread.start()
        self._put(MAGIC + record(Op.HEADER, text("ros2") + text(library)))

    def add_schema(self, name: str, encoding: str, definition: str) -> int:
        """Announce a type; returns its number."""
        number = len(self._schemas) + 1
        self._schemas.append(
            record(Op.SCHEMA, struct.pack("<H", number) + text(name) + text(encoding) + text(definition))
        )
        self._put(self._schemas[-1])
        return number

    def add_channel(self, schema: int, topic: str, encoding: str, metadata: dict[str, str]) -> int:
        """Announce a topic; returns its number."""
        number = len(self._channels) + 1
        head = struct.pack("<HH", number, schema)
        self._channels.append(record(Op.CHANNEL, head + text(topic) + text(encoding) + mapping(metadata)))
        self._put(self._channels[-1])
        self.counts[number] = 0
        return number

    def write_notes(self, name: str, values: dict[str, str]) -> None:
        """Write a metadata record now, so that it survives a crash."""
        self._put(record(Op.METADATA, text(name) + mapping(values)))

    def append(self, channel: int, sequence: int, log_ns: int, publish_ns: int, raw: bytes) -> None:
        """Add a message: received at `log_ns`, sent at `publish_ns`."""
        chunk = self._chunk
        head = _MESSAGE.pack(Op.MESSAGE, MESSAGE.size + len(raw), channel, sequence & 0xFFFFFFFF, log_ns, publish_ns)
        chunk.parts.append(head)
        chunk.parts.append(raw)
        index = chunk.index.get(channel)
        if index is None:
            index = chunk.index[channel] = array("Q")
        index.append(log_ns)
        index.append(chunk.size)
        chunk.size += len(head) + len(raw)
        chunk.first_ns = min(chunk.first_ns, log_ns)
        chunk.last_ns = max(chunk.last_ns, log_ns)
        self.counts[channel] += 1
        if chunk.size >= CHUNK_BYTES or chunk.last_ns - chunk.first_ns >= CHUNK_NS:
            self._flush()

    def check(self) -> None:
        """Raise what the disk has answered, if it refused."""
        if self._error is not None:
            raise self._error

    @property
    def waiting_bytes(self) -> int:
        """Handed over and not on the disk yet."""
        return self._waiting_bytes

    def close(self, name: str, values: dict[str, str]) -> None:
        """Write the metadata record `name`, the summary and the end mark, and put all of it on the disk."""
        try:
            self._flush()
            self._queue.put(None)
            self._thread.join()
            self.check()
            self._write_record(record(Op.METADATA, text(name) + mapping(values)))
            self._write(record(Op.DATA_END, bytes(4)))
            self._write(self._summary(self._offset))
            os.fsync(self._file)
        finally:
            self.abort()

    def abort(self) -> None:
        """End without summary; what was written stays, what waits is dropped. A second call does nothing.

        A disk that stalls is not waited for: the writing thread closes the file once the disk answers.
        """
        self._error = self._error or OSError(errno.ECANCELED, "ended without a summary", str(self.path))
        self._queue.put(None)
        self._thread.join(_ABORT_S)
        with self._lock:
            self._abandoned = True
            self._close_file()

    def _close_file(self) -> None:
        """By whoever is the last to need it."""
        if self._abandoned and self._written_out and self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _flush(self) -> None:
        chunk, self._chunk = self._chunk, _Chunk()
        if chunk.size:
            self._put(chunk)

    def _put(self, item: bytes | _Chunk) -> None:
        self.check()
        size = len(item) if isinstance(item, bytes) else item.size
        with self._lock:
            self._waiting_bytes += size
            waiting = self._waiting_bytes
        if waiting > QUEUE_BYTES + CHUNK_BYTES:
            self._error = OSError(
                errno.EIO, f"the disk does not keep up: {waiting >> 20} MB wait for it", str(self.path)
            )
            raise self._error
        self._queue.put(item)

    def _run(self) -> None:
        most_bytes = 0
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue  # nothing after a hole: what is in the file stays readable
            try:
                self._write_record(item) if isinstance(item, bytes) else self._write_chunk(item)
            except OSError as error:
                self._error = OSError(error.errno, error.strerror, str(self.path))
            most_bytes = max(most_bytes, self._waiting_bytes)
            with self._lock:
                self._waiting_bytes -= len(item) if isinstance(item, bytes) else item.size
            if most_bytes > _BURST_BYTES and self._waiting_bytes < CHUNK_BYTES:
                del item
                give_back()
                most_bytes = 0
        with self._lock:
            self._written_out = True
            self._close_file()

    def _write_record(self, item: bytes) -> None:
        if item[0] == Op.METADATA:
            (length,) = struct.unpack_from("<I", item, HEAD.size)
            name = item[HEAD.size : HEAD.size + 4 + length]
            self._metadata_index.append(record(Op.METADATA_INDEX, struct.pack("<QQ", self._offset, len(item)) + name))
        self._write(item)

    def _write_chunk(self, chunk: _Chunk) -> None:
        segments = [b"".join(chunk.parts)] if self._compress else list(_segments(chunk.parts))
        crc = 0
        for segment in segments:
            crc = crc32(segment, crc)
        if self._compress:
            segments = [zstd.compress(segments[0])]
        size = sum(map(len, segments))
        kind = text("zstd" if self._compress else "")
        head = CHUNK.pack(chunk.first_ns, chunk.last_ns, chunk.size, crc) + kind + struct.pack("<Q", size)
        start = self._offset
        self._write(HEAD.pack(Op.CHUNK, len(head) + size) + head)
        for segment in segments:
            self._write(segment)
        length = self._offset - start
        offsets, indexes = b"", b""
        for channel, entries in chunk.index.items():
            offsets += struct.pack("<HQ", channel, self._offset + len(indexes))
            body = struct.pack("<HI", channel, 8 * len(entries)) + _little_endian(entries)
            indexes += record(Op.MESSAGE_INDEX, body)
        self._write(indexes)
        content = struct.pack("<QQQQI", chunk.first_ns, chunk.last_ns, start, length, len(offsets)) + offsets
        content += struct.pack("<Q", len(indexes)) + kind + struct.pack("<QQ", size, chunk.size)
        self._chunk_index.append(record(Op.CHUNK_INDEX, content))
        self.first_ns, self.last_ns = min(self.first_ns, chunk.first_ns), max(self.last_ns, chunk.last_ns)
        os.fdatasync(self._file)
        os.posix_fadvise(self._file, start, self._offset - start, os.POSIX_FADV_DONTNEED)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self._offset += written
            view = view[written:]

    def _summary(self, start: int) -> bytes:
        groups = (
            (Op.SCHEMA, self._schemas),
            (Op.CHANNEL, self._channels),
            (Op.CHUNK_INDEX, self._chunk_index),
            (Op.METADATA_INDEX, self._metadata_index),
            (Op.STATISTICS, [self._statistics()]),
        )
        summary, offsets = b"", b""
        for op, records in groups:
            data = b"".join(records)
            if data:
                offsets += record(Op.SUMMARY_OFFSET, struct.pack("<BQQ", op, start + len(summary), len(data)))
            summary += data
        footer = HEAD.pack(Op.FOOTER, 20) + struct.pack("<QQ", start, start + len(summary))
        crc = crc32(summary + offsets + footer)
        return summary + offsets + footer + struct.pack("<I", crc) + MAGIC

    def _statistics(self) -> bytes:
        total = sum(self.counts.values())
        first_ns = self.first_ns if total else 0
        content = struct.pack("<QHIII", total, len(self._schemas), len(self._channels), 0, len(self._metadata_index))
        content += struct.pack("<IQQI", len(self._chunk_index), first_ns, self.last_ns, 10 * len(self.counts))
        content += b"".join(struct.pack("<HQ", channel, count) for channel, count in self.counts.items())
        return record(Op.STATISTICS, content)


def _segments(parts: list[bytes]) -> Iterator[bytes]:
    """Small parts joined, large ones as they are: images are not copied once more."""
    small: list[bytes] = []
    for part in parts:
        if len(part) < _LARGE_BYTES:
            small.append(part)
            continue
        yield b"".join(small)
        small.clear()
        yield part
    yield b"".join(small)


def _little_endian(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
