"""`camera_sync: approximate`: frames of several cameras reach the policy only in sets that belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time

from hpt_ros.configuration import check
from hpt_ros.errors import MissingDependencyError, StreamError
from hpt_ros.streams.cdr import header_stamp_ns

SYNCS = ("none", "approximate")
_QUEUE = 10  # frames of each camera that wait for their partners


@dataclass(frozen=True)
class _Header:
    stamp: Time


@dataclass(frozen=True)
class _Frame:
    """A serialized message with the one field that message_filters looks at."""

    raw: bytes
    header: _Header = field(init=False)

    def __post_init__(self) -> None:
        seconds, nanoseconds = divmod(header_stamp_ns(self.raw), 10**9)
        object.__setattr__(self, "header", _Header(Time(sec=seconds, nanosec=nanoseconds)))


class CameraBundle:
    """Takes serialized frames of `keys` and hands them on, by `deliver(key, raw)`, in sets whose stamps lie within `slop_s`.

    A frame whose partner never comes is dropped: a camera that is silent silences the others too, and the observation's age
    budgets stop the arm.

    Raises:
        MissingDependencyError: message_filters is not installed.
        ConfigError: fewer than two cameras, or no slop.
    """

    def __init__(self, keys: Sequence[str], deliver: Callable[[str, bytes], None], slop_s: float) -> None:
        check(len(keys) > 1, "camera_sync", list(keys), "at least two cameras to bundle")
        check(0 < slop_s <= 0.5, "camera_slop_s", slop_s, "above 0, at most 0.5")
        try:
            from message_filters import (  # type: ignore[import-not-found]
                ApproximateTimeSynchronizer,
                SimpleFilter,
            )
        except ImportError as error:
            raise MissingDependencyError(
                f"camera_sync: approximate needs the ROS package message_filters ({error})",
                "install ros-$ROS_DISTRO-message-filters, or use camera_sync: none",
            ) from error
        self._filters: dict[str, Any] = {key: SimpleFilter() for key in keys}
        self._deliver = deliver
        self._synchronizer = ApproximateTimeSynchronizer(list(self._filters.values()), _QUEUE, slop_s)
        self._synchronizer.registerCallback(self._on_set)
        self.sets = self.unreadable = 0

    def receiver(self, key: str) -> Callable[[bytes], None]:
        """What takes the frames of one camera."""
        return partial(self._receive, key)

    def _receive(self, key: str, raw: bytes) -> None:
        try:
            frame = _Frame(raw)
        except StreamError:
            self.unreadable += 1
            return
        self._filters[key].signalMessage(frame)

    def _on_set(self, *frames: _Frame) -> None:
        self.sets += 1
        for key, frame in zip(self._filters, frames, strict=True):
            self._deliver(key, frame.raw)
