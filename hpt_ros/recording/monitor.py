"""What is wrong with a stream right now: silent, frozen or slow."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hpt_ros.streams.cdr import same_payload

MIN_RATE_SHARE = 0.7
"""A stream below this share of the rate that the embodiment expects is slow."""
_WINDOW_S = 0.7
_WINDOW_MESSAGES = 6  # a slow stream gets a longer window: one message more or less is not to matter
MIN_SILENCE_S = 0.25
"""A shorter silence is not told, even where the age budget is shorter: any busy machine pauses that long."""
_FROZEN_STAMP_NS = 300_000_000
_FROZEN_PAYLOAD_NS = 500_000_000
_FROZEN_MESSAGES = 3
_FROZEN_FRAMES = 10
_STAMP = slice(4, 12)  # of a CDR message that begins with a header


@dataclass(frozen=True)
class StreamContract:
    """What is expected of a topic: rate [Hz] (0: none), age budget [s], header or not, frames that never repeat or not.

    `compare_payload` is for real cameras: two exposures are never equal, while a rendered scene at rest is.
    """

    rate_hz: float
    max_age_s: float
    has_header: bool = True
    compare_payload: bool = False


class StreamWarning(NamedTuple):
    """`kind` is silent, frozen or slow; `text` says what was seen and what is expected."""

    topic: str
    kind: str
    text: str


class StreamMonitor:
    """Watches one topic. `add` each message, `step` about ten times a second, then ask. Times in ns of one clock."""

    def __init__(self, topic: str, contract: StreamContract) -> None:
        self.topic = topic
        self.contract = contract
        rate_hz = contract.rate_hz
        self.window_ns = round(1e9 * max(_WINDOW_S, _WINDOW_MESSAGES / rate_hz if rate_hz else 0.0))
        self.received = 0
        self.bytes = 0
        self.last_ns: int | None = None
        self._steps: deque[tuple[int, int, int]] = deque()  # time, messages and bytes until then
        self._stamp = _Unchanged(operator.eq)
        self._payload = _Unchanged(same_payload)

    def add(self, receive_ns: int, raw: bytes) -> None:
        """Note a message. After a silence the rate is that of what follows: the silence was told as such."""
        if self.last_ns is not None and receive_ns - self.last_ns > self.window_ns:
            self._steps.clear()
        self.received += 1
        self.bytes += len(raw)
        self.last_ns = receive_ns
        if self.contract.has_header:
            self._stamp.note(receive_ns, raw[_STAMP])
        if self.contract.compare_payload:
            self._payload.note(receive_ns, raw)

    def step(self, now_ns: int) -> None:
        """End a step of the rate's window, which begins with the first message."""
        if self.last_ns is None:
            return
        if self._steps and now_ns < self._steps[-1][0]:
            self._steps.clear()  # the clock was set back
        self._steps.append((now_ns, self.received, self.bytes))
        while len(self._steps) > 2 and now_ns - self._steps[1][0] >= self.window_ns:
            self._steps.popleft()

    def forget(self) -> None:
        """Begin anew, as if nothing had come yet."""
        self.__init__(self.topic, self.contract)  # type: ignore[misc]

    def rate_hz(self) -> float:
        """Messages per second over the window."""
        return self._per_s(1)

    def bytes_per_s(self) -> float:
        """Bytes per second over the window."""
        return self._per_s(2)

    def warning(self, now_ns: int) -> StreamWarning | None:
        """The gravest thing that is wrong, if anything is."""
        if self.last_ns is None:
            return self._warn("silent", "nothing came yet")
        silent_s = (now_ns - self.last_ns) / 1e9
        longest_s = max(self.contract.max_age_s, MIN_SILENCE_S)
        if self.contract.max_age_s and silent_s > longest_s:
            return self._warn("silent", f"for {silent_s:.1f} s, at most {longest_s:g} s expected")
        if self._stamp.lasts(_FROZEN_STAMP_NS, _FROZEN_MESSAGES):
            return self._warn("frozen", f"{self._stamp.repeats + 1} messages with the same header stamp")
        if self._payload.lasts(_FROZEN_PAYLOAD_NS, _FROZEN_FRAMES):
            return self._warn("frozen", f"{self._payload.repeats + 1} identical frames")
        if self.is_slow():
            expected_hz = self.contract.rate_hz
            return self._warn("slow", f"{self.rate_hz():.1f} Hz, {expected_hz:g} Hz expected")
        return None

    def is_slow(self) -> bool:
        """Whether a whole window has passed with too few messages."""
        full = bool(self._steps) and self._steps[-1][0] - self._steps[0][0] >= self.window_ns
        return full and self.rate_hz() < MIN_RATE_SHARE * self.contract.rate_hz

    def _per_s(self, column: int) -> float:
        if len(self._steps) < 2:
            return 0.0
        first, last = self._steps[0], self._steps[-1]
        return (last[column] - first[column]) * 1e9 / max(last[0] - first[0], 1)

    def _warn(self, kind: str, what: str) -> StreamWarning:
        return StreamWarning(self.topic, kind, f"{self.topic}: {kind}: {what}")


class _Unchanged:
    """For how long something has been the same."""

    def __init__(self, same: Callable[[bytes, bytes], bool]) -> None:
        self._same = same
        self._value = b""
        self._since_ns = self._last_ns = 0
        self.repeats = 0

    def note(self, now_ns: int, value: bytes) -> None:
        if self._same(self._value, value):
            self.repeats += 1
            self._last_ns = now_ns
        else:
            self._value, self._since_ns, self._last_ns, self.repeats = value, now_ns, now_ns, 0

    def lasts(self, duration_ns: int, repeats: int) -> bool:
        return self.repeats >= repeats and self._last_ns - self._since_ns >= duration_ns
