"""Every reason against a start is said; nothing is said when all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpt_ros.recording.checks import TopicView, reasons_against_start
from hpt_ros.streams.cdr import typestore

IMAGE = "sensor_msgs/msg/Image"
DIGEST = typestore().hash_rihs01(IMAGE)
GOOD = TopicView("/camera", IMAGE, True, ((IMAGE, DIGEST), (IMAGE, "")), silent_s=0.1, max_silence_s=1.0)


@pytest.mark.parametrize(
    "view",
    [
        GOOD,
        replace(GOOD, required=False, publishers=(), silent_s=None),
        replace(GOOD, silent_s=None, max_silence_s=None),
    ],
)
def test_nothing_against_a_good_topic(view) -> None:
    assert reasons_against_start([view]) == []


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (replace(GOOD, publishers=()), f"/camera: no publisher, expected {IMAGE}"),
        (
            replace(GOOD, publishers=(("std_msgs/msg/String", ""),)),
            f"published as std_msgs/msg/String, expected {IMAGE}",
        ),
        (replace(GOOD, publishers=((IMAGE, "RIHS01_0"),)), f"another definition of {IMAGE}"),
        (replace(GOOD, silent_s=None), "no message came"),
        (replace(GOOD, silent_s=2.0), "silent for 2.0 s, at most 1.0 s"),
        (replace(GOOD, slow_hz=14.0, expected_hz=30.0), "14.0 Hz, 30 Hz expected"),
        (replace(GOOD, refusal="message type is not installed"), "/camera: message type is not installed"),
        (replace(GOOD, msgtype="acme_msgs/msg/Odd"), "no definition of acme_msgs/msg/Odd"),
    ],
)
def test_each_fault_is_told(view, reason) -> None:
    (told,) = reasons_against_start([GOOD, view])
    assert reason in told
