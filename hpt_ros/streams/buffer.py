"""The recent past of one stream, ordered by header stamp."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

from hpt_ros.streams.cdr import header_stamp_ns, same_payload


class Sample:
    """One serialized message; `value` keeps what it was decoded to, so that overlapping histories decode it once."""

    __slots__ = ("raw", "stamp_ns", "value")

    def __init__(self, stamp_ns: int, raw: bytes) -> None:
        self.stamp_ns = stamp_ns
        self.raw = raw
        self.value: Any = None


class StreamBuffer:
    """Samples whose stamps lie within `horizon_ns` of the newest one, whatever the order of their arrival.

    Of several samples with one stamp the first to arrive stays: what a tick has used does not change under the next.
    Not locked: the owner sees to it that one thread at a time is inside.
    """

    def __init__(self, horizon_ns: int) -> None:
        self._horizon_ns = horizon_ns
        self._stamps: list[int] = []
        self._samples: list[Sample] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """The largest stamp, None while empty."""
        return self._stamps[-1] if self._stamps else None

    def push(self, raw: bytes, known_ns: int | None = None) -> int:
        """Keep the message and return its stamp [ns], which is read unless it is known; a straggler from before the horizon is not kept.

        Raises:
            StreamError: the bytes carry no usable stamp.
        """
        stamp_ns = header_stamp_ns(raw) if known_ns is None else known_ns
        stamps, samples = self._stamps, self._samples
        if not stamps or stamp_ns > stamps[-1]:
            stamps.append(stamp_ns)
            samples.append(Sample(stamp_ns, raw))
            while stamps[0] < stamp_ns - self._horizon_ns:
                stamps.pop(0)
                samples.pop(0)
        elif stamp_ns >= stamps[-1] - self._horizon_ns:
            at = bisect_left(stamps, stamp_ns)
            if stamps[at] != stamp_ns:
                stamps.insert(at, stamp_ns)
                samples.insert(at, Sample(stamp_ns, raw))
        return stamp_ns

    def at_or_before(self, ns: int) -> Sample | None:
        """The newest sample whose stamp is not after `ns`."""
        at = bisect_right(self._stamps, ns)
        return self._samples[at - 1] if at else None

    def unchanged_since(self, sample: Sample) -> int:
        """The oldest stamp from which on every kept payload up to that of `sample`, which is kept, is the same."""
        at = bisect_left(self._stamps, sample.stamp_ns)
        while at and same_payload(self._samples[at - 1].raw, sample.raw):
            at -= 1
        return self._stamps[at]

    def clear(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self._stamps.clear()
        self._samples.clear()
