"""Latency by stage: windows that forget, and what is left out."""

from __future__ import annotations

import math
import time

import pytest

from hpt_ros.control.latency import STAGES, StageLatency


def test_percentiles_by_stage() -> None:
    latency = StageLatency(STAGES, 60.0)
    for i in range(100):
        latency.add({"capture": i / 1000, "due": 0.004})
    latency.add({"capture": math.inf, "inference": math.nan})
    assert latency.percentiles_ms(50) == pytest.approx([50, 0, 0, 0, 4])
    assert latency.percentiles_ms(99) == pytest.approx([99, 0, 0, 0, 4])


def test_an_old_peak_is_forgotten() -> None:
    latency = StageLatency(("due",), 0.05)
    latency.add({"due": 9.0})
    deadline = time.monotonic() + 10
    while latency.percentiles_ms(100) != [0.0]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
