"""Order and receive times of what the recorder's subscriptions hand over."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace
from typing import Any

import pytest

from hpt_ros.recording.monitor import StreamContract

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

S = 10**9


class _Handle(contextlib.nullcontext):
    """A subscription with messages that wait; in the order of their numbers, as a reliable reader hands them over."""

    def __init__(self, received_ns: list[int]) -> None:
        super().__init__()
        self.waiting = list(enumerate(received_ns, 1))

    def take_message(self, _kind: Any, _raw: bool) -> Any:
        if not self.waiting:
            return None
        number, received_ns = self.waiting.pop(0)
        return b"", {"received_timestamp": received_ns, "source_timestamp": 0, "publication_sequence_number": number}


def taken(received_ns: list[int]) -> list[Any]:
    from hpt_ros.nodes.recorder_inputs import Input

    source = Input("/chunk", "std_msgs/msg/String", StreamContract(0.0, 0.0), 100, False, True)
    source._subscription = SimpleNamespace(handle=_Handle(received_ns), msg_type=None)
    batch: list[Any] = []
    source.take(batch, None, 0)
    return batch


def test_what_overtook_a_message_that_was_sent_again_stays_behind_it() -> None:
    now_ns = time.time_ns()
    batch = taken([now_ns - 4 * S, now_ns - S, now_ns - 3 * S, now_ns - 2 * S, now_ns - S // 2])
    assert [item.receive_ns - now_ns for item in batch] == [-4 * S, -S, -S, -S, -S // 2]
    assert [item.sequence for item in sorted(batch, key=lambda item: item.receive_ns)] == [1, 2, 3, 4, 5]


def test_a_clock_that_was_set_back_counts_from_then_on() -> None:
    now_ns = time.time_ns()
    batch = taken([now_ns + 3600 * S, now_ns - 2 * S, now_ns - S])
    assert [item.receive_ns - now_ns for item in batch] == [3600 * S, -2 * S, -S]
