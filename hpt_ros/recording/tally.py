"""What came of one topic in an episode: how many, how regularly, and what was lost on the way."""

from __future__ import annotations

from collections import Counter

from rosbags.interfaces import Nodetype

from hpt_ros.errors import StreamError
from hpt_ros.streams.cdr import header_stamp_ns, typestore

_MANTISSA_BITS = 5  # a class of the histogram is at most 1/32 wide, relative to its values
_MISSING_FROM = 1.5  # periods between two stamps: from here on a message may be missing between them
_PATIENCE = 20  # messages at the usual pace, after which a publisher that was only late has made up for it
_CLOSE = 0.5  # periods between two stamps: up to here a message makes up for an absent one


class GapHistogram:
    """Times between messages in classes that are 3 % wide: percentiles of any number of gaps in a few kB."""

    def __init__(self) -> None:
        self._classes: Counter[tuple[int, int]] = Counter()
        self.count = 0
        self.max_ns = 0

    def add(self, gap_ns: int) -> None:
        """Count one gap; a negative one (the clock was set back) counts as 0."""
        gap_ns = max(gap_ns, 0)
        shift = max(gap_ns.bit_length() - _MANTISSA_BITS - 1, 0)
        self._classes[shift, gap_ns >> shift] += 1
        self.count += 1
        self.max_ns = max(self.max_ns, gap_ns)

    def quantile_ns(self, share: float) -> int:
        """The smallest class bound that `share` of the gaps do not exceed; 0 without gaps."""
        wanted, seen = share * self.count, 0
        for shift, mantissa in sorted(self._classes, key=lambda c: c[1] << c[0]):
            seen += self._classes[shift, mantissa]
            if seen >= wanted:
                return min(((mantissa + 1) << shift) - 1, self.max_ns)
        return 0


class TopicTally:
    """Counts of one topic.

    `rate_hz` is the contract's rate, 0 where there is none. Two measures of loss, which are told apart:
    `lost` counts the sequence numbers of the publisher that never came, None where the middleware gives none;
    `missing` estimates from header stamps more than 1.5 periods apart what the sensor or its driver left out too; what
    the next messages make up for by coming closer together was late, not missing.
    """

    def __init__(self, msgtype: str, rate_hz: float = 0.0) -> None:
        self._period_ns = 1e9 / rate_hz if rate_hz > 0 and has_header(msgtype) else 0.0
        self._last_stamp_ns = 0
        self._sequences: dict[bytes, int] = {}
        self.gaps = GapHistogram()
        self.count = 0
        self.bytes = 0
        self.missing = 0
        self.first_ns = self.last_ns = 0
        self._lost = 0
        self._absent = 0.0  # messages, in periods
        self._absent_for: int | None = None  # messages since the last gap

    def add(self, receive_ns: int, raw: bytes, sequence: int = 0, publisher: bytes = b"") -> None:
        """Count a message; `sequence` is the publisher's number for it, 0 where it is not known."""
        if self.count:
            self.gaps.add(receive_ns - self.last_ns)
        else:
            self.first_ns = receive_ns
        self.last_ns = receive_ns
        self.count += 1
        self.bytes += len(raw)
        if sequence:
            before = self._sequences.get(publisher)
            if before is not None:
                self._lost += max(sequence - before - 1, 0)
            self._sequences[publisher] = sequence
        if self._period_ns:
            self._add_stamp(raw)

    def _add_stamp(self, raw: bytes) -> None:
        try:
            stamp_ns = header_stamp_ns(raw)
        except StreamError:
            return
        periods = (stamp_ns - self._last_stamp_ns) / self._period_ns if self._last_stamp_ns else 1.0
        self._last_stamp_ns = stamp_ns
        if periods > _MISSING_FROM:
            self._absent += periods - 1
            self._absent_for = 0
        elif self._absent_for is not None:
            made_up = periods < _CLOSE and self._absent > 0
            self._absent = max(self._absent - max(1 - periods, 0.0), 0.0)
            self._absent_for = 0 if made_up else self._absent_for + 1
            if self._absent_for >= _PATIENCE:
                self.settle()

    def settle(self) -> None:
        """Count what is absent as missing: nothing comes that could make up for it."""
        self.missing += round(self._absent)
        self._absent, self._absent_for = 0.0, None

    @property
    def lost(self) -> int | None:
        """Messages that were published and never came; None where the middleware does not number them."""
        return self._lost if self._sequences else None

    @property
    def drops(self) -> int:
        """Messages that should be there and are not, by the measure that sees more."""
        return max(self._lost, self.missing)

    def statistics(self) -> dict[str, float]:
        """For the bag's metadata; `lost_by_sequence` is not there where the middleware does not number messages."""
        self.settle()
        span_ns = self.last_ns - self.first_ns
        values: dict[str, float] = {
            "count": self.count,
            "rate_hz": round((self.count - 1) * 1e9 / span_ns, 3) if span_ns > 0 else 0.0,
            "gap_p50_ms": round(self.gaps.quantile_ns(0.5) / 1e6, 3),
            "gap_p99_ms": round(self.gaps.quantile_ns(0.99) / 1e6, 3),
            "gap_max_ms": round(self.gaps.max_ns / 1e6, 3),
            "missing_by_stamps": self.missing,
        }
        return values if self.lost is None else values | {"lost_by_sequence": self.lost}


def has_header(msgtype: str) -> bool:
    """Whether the type is known and begins with a std_msgs/Header."""
    definition = typestore().fielddefs.get(msgtype)
    if definition is None or not definition[1]:
        return False
    kind, detail = definition[1][0][1]
    return kind == Nodetype.NAME and detail == "std_msgs/msg/Header"
