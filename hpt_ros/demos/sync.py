"""How well the streams of the converted episodes fit the declared rates and ages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from hpt_ros.demos.align import COMMAND_KEY, Row
from hpt_ros.embodiment import Embodiment
from hpt_ros.streams import header_stamp_ns


class SyncReport:
    """Collects, per stream, the age of the sample used at each tick and the rate at which samples came."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._specs = (*embodiment.streams(), embodiment.command_stream())
        self._ages_ns: dict[str, list[int]] = defaultdict(list)
        self._intervals: dict[str, int] = defaultdict(int)
        self._span_ns: dict[str, int] = defaultdict(int)

    def watch(self, messages: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        """Pass an episode's messages on, counting them."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        counts: dict[str, int] = defaultdict(int)
        for key, raw in messages:
            yield key, raw
            last[key] = header_stamp_ns(raw)
            first.setdefault(key, last[key])
            counts[key] += 1
        for key, count in counts.items():
            self._intervals[key] += count - 1
            self._span_ns[key] += last[key] - first[key]

    def add(self, row: Row) -> None:
        """Count the ages of one tick."""
        for key, age_ns in row.observation.ages_ns.items():
            self._ages_ns[key].append(age_ns)
        self._ages_ns[COMMAND_KEY].append(row.command_age_ns)

    def merge(self, other: SyncReport) -> None:
        """Add the figures of another episode."""
        for key, ages_ns in other._ages_ns.items():
            self._ages_ns[key] += ages_ns
            self._intervals[key] += other._intervals[key]
            self._span_ns[key] += other._span_ns[key]

    def to_mapping(self) -> dict[str, dict[str, Any]]:
        """By stream: age [ms] mean, p95 and max, achieved and declared rate [Hz]."""
        return {spec.key: self._stream(spec.key) | {"declared_rate_hz": spec.rate_hz} for spec in self._specs}

    def _stream(self, key: str) -> dict[str, Any]:
        ages_ms = np.array(self._ages_ns[key]) / 1e6
        span_ns = self._span_ns[key]
        return {
            "age_mean_ms": round(float(ages_ms.mean()), 3),
            "age_p95_ms": round(float(np.percentile(ages_ms, 95)), 3),
            "age_max_ms": round(float(ages_ms.max()), 3),
            "rate_hz": round(self._intervals[key] * 1e9 / span_ns, 2) if span_ns > 0 else 0.0,
        }
