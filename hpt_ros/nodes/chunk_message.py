"""ActionChunk messages as chunks, and what they say of their own way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpt_ros.control.chunk import Chunk


def chunk_of(message: Any) -> Chunk:
    """As it came: what is wrong with it is for the gate to say."""
    names, rows = tuple(message.names), np.array(message.rows, dtype=float)
    if names and len(rows) % len(names) == 0:
        rows = rows.reshape(-1, len(names))
    period_s = message.period_s
    return Chunk(
        observation_ns=time_ns(message.observation_stamp),
        period_ns=round(period_s * 1e9) if math.isfinite(period_s) else 0,
        names=names,
        rows=rows,
        fingerprint=message.fingerprint,
        source=message.source,
    )


def stages_of(message: Any, chunk: Chunk, received_ns: int) -> dict[str, float]:
    """Durations [s] of the chunk's way, by `control.latency.STAGES`; what its sender did not measure is left out."""
    stages: dict[str, float] = {}
    if message.capture_age_s > 0:
        stages["capture"] = message.capture_age_s
    if message.inference_s > 0:
        stages["inference"] = message.inference_s
        stages["observation"] = message.latency_s - message.inference_s
    if sent_ns := time_ns(message.header.stamp):
        stages["arrival"] = (received_ns - sent_ns) * 1e-9
    live = chunk.due_ns[chunk.due_ns > received_ns]
    if len(live):
        stages["due"] = float(live[0] - received_ns) * 1e-9
    return stages


def time_ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces Time."""
    return int(stamp.sec * 10**9 + stamp.nanosec)
