"""Whether the stamps of recorded messages can be used, told with topic and time before anything is aligned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hpt_ros.embodiment import StreamSpec
from hpt_ros.errors import DataError, StreamError
from hpt_ros.streams import PATIENCE_NS, header_stamp_ns
from hpt_ros.streams.cdr import with_stamp

Stamped = tuple[str, int, bytes]
"""Stream key, header stamp [ns], serialized message."""

JUMP_NS = 1_000_000_000
_OTHER_TIMES = "if the stamps cannot be repaired, --receive-time takes the times at which messages were received"


def stamped(messages: Iterable[tuple[StreamSpec, int, bytes]], start_ns: int, receive_time: bool) -> Iterator[Stamped]:
    """(stream key, stamp [ns], message) of what came as (stream, receive time [ns], message), each with a stamp that can be used.

    `start_ns`: receive time of the bag's first message; errors count from there. With `receive_time` every header is given
    the receive time.

    Raises:
        DataError: a message has no stamp, or a stream's stamps go back by more than `PATIENCE_NS`, or ahead by more than
            `JUMP_NS` of what passed meanwhile.
    """
    newest: dict[str, tuple[int, int]] = {}
    for spec, receive_ns, message in messages:
        raw = message
        try:
            if receive_time:
                raw = with_stamp(message, receive_ns)
            stamp_ns = header_stamp_ns(raw)
        except StreamError as error:
            remedy = error.remedy if receive_time else f"{error.remedy}; {_OTHER_TIMES}".removeprefix("; ")
            raise DataError(f"{_where(spec, receive_ns, start_ns)}: {error.message}", remedy) from error
        newest_ns, then_ns = newest.get(spec.key, (stamp_ns, receive_ns))
        ahead_ns = stamp_ns - newest_ns
        if ahead_ns < -PATIENCE_NS or ahead_ns - (receive_ns - then_ns) > JUMP_NS:
            way = "ahead" if ahead_ns > 0 else "back"
            raise DataError(
                f"{_where(spec, receive_ns, start_ns)}: the stamp goes {way} by {abs(ahead_ns) / 1e9:.2f} s, {(receive_ns - then_ns) / 1e9:.2f} s after the one before: the clock jumped, or messages were held up",
                f"trim the bag to one side of the jump (hpt-ros bags trim); {_OTHER_TIMES}",
            )
        if ahead_ns >= 0:
            newest[spec.key] = stamp_ns, receive_ns
        yield spec.key, stamp_ns, raw


def _where(spec: StreamSpec, receive_ns: int, start_ns: int) -> str:
    return f"{spec.topic} ({spec.key}), {(receive_ns - start_ns) / 1e9:.2f} s into the bag"
