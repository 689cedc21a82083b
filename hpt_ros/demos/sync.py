"""How well the streams of the converted episodes fit the declared rates and ages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos.align import COMMAND_KEY, Row
from hpt_ros.demos.stamps import Stamped
from hpt_ros.embodiment import StreamSpec
from hpt_ros.errors import DataError

SLOW = 0.7
"""Share of the declared rate below which a bag does not support what the embodiment promises."""


@dataclass
class _Pace:
    """Messages of a stream, and their first and last stamp [ns]."""

    count: int
    first_ns: int
    last_ns: int


class EpisodeSync:
    """Watches the messages of one episode."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}

    def watch(self, messages: Iterable[Stamped]) -> Iterator[Stamped]:
        """Pass an episode's messages on, counting them."""
        paces = self._paces
        for message in messages:
            yield message
            key, stamp_ns, _ = message
            pace = paces.get(key)
            if pace is None:
                paces[key] = _Pace(1, stamp_ns, stamp_ns)
            else:
                pace.count += 1
                pace.last_ns = max(pace.last_ns, stamp_ns)

    def check_rates(self, specs: Iterable[StreamSpec]) -> None:
        """Refuse what the embodiment's figures do not describe.

        Raises:
            DataError: a stream came at less than `SLOW` of its declared rate.
        """
        for spec in specs:
            intervals, span_ns = self._intervals(spec.key)
            rate_hz = intervals * 1e9 / span_ns if span_ns else spec.rate_hz
            if rate_hz < SLOW * spec.rate_hz:
                raise DataError(
                    f"{spec.topic} ({spec.key}) came at {rate_hz:.1f} Hz, the embodiment declares {spec.rate_hz:g} Hz",
                    "repair its publisher, correct rate_hz in the embodiment, or accept it with --allow-slow",
                )

    def to_mapping(self, passed_over: Counter[str]) -> dict[str, dict[str, int]]:
        """By stream: intervals between messages, the time they span, and ticks without a sample; plain data."""
        keys = {*self._paces, *passed_over}
        return {
            key: dict(zip(("intervals", "span_ns", "missed"), (*self._intervals(key), passed_over[key]), strict=True))
            for key in sorted(keys)
        }

    def _intervals(self, key: str) -> tuple[int, int]:
        pace = self._paces.get(key, _Pace(1, 0, 0))
        return pace.count - 1, pace.last_ns - pace.first_ns


def ages_ns(row: Row, keys: Sequence[str]) -> NDArray[np.int64]:
    """Ages of the samples that a row uses, in the order of `keys`."""
    found = row.observation.ages_ns | {COMMAND_KEY: row.command_age_ns}
    return np.array([found[key] for key in keys], dtype=np.int64)


def sync_report(
    specs: Sequence[StreamSpec], ages: NDArray[np.int64], episodes: Iterable[Mapping[str, Mapping[str, int]]]
) -> dict[str, dict[str, Any]]:
    """By stream: share of the ticks that found a sample, age [ms] mean, p95 and max, achieved and declared rate [Hz].

    `ages`: (N, streams) [ns] of all rows; `episodes`: what `EpisodeSync.to_mapping` gave for each.
    """
    totals = {spec.key: Counter[str]() for spec in specs}
    for episode in episodes:
        for key, figures in episode.items():
            totals[key].update(figures)
    return {
        spec.key: _stream(column / 1e6, totals[spec.key]) | {"declared_rate_hz": spec.rate_hz}
        for spec, column in zip(specs, ages.T, strict=True)
    }


def _stream(ages_ms: NDArray[np.float64], totals: Counter[str]) -> dict[str, Any]:
    span_ns = totals["span_ns"]
    return {
        "match_share": round(len(ages_ms) / (len(ages_ms) + totals["missed"]), 4),
        "age_mean_ms": round(float(ages_ms.mean()), 3),
        "age_p95_ms": round(float(np.percentile(ages_ms, 95)), 3),
        "age_max_ms": round(float(ages_ms.max()), 3),
        "rate_hz": round(totals["intervals"] * 1e9 / span_ns, 2) if span_ns > 0 else 0.0,
    }
