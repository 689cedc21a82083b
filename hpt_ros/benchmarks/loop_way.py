"""From a camera's stamp to the command that answers it: one chunk's way, put together from the messages about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpt_ros.benchmarks.report import percentiles_ms
from hpt_ros.control.horizon import LEAD_TICKS


@dataclass
class ChunkWays:
    """Collects, by callbacks of one thread.

    Stages of each chunk [s]: `capture` camera stamp to tick (the oldest camera), `inference` tick to publication,
    `delivery` publication to arrival, `tick` arrival to the next control tick, `lead` from there to the time the command is in force.
    """

    period_s: float
    ages_s: dict[int, float] = field(default_factory=dict)
    chunks: list[tuple[int, int, int]] = field(default_factory=list)
    in_force_ns: list[int] = field(default_factory=list)

    def on_policy_status(self, message: Any) -> None:
        """The age of what the tick that it is stamped with has used."""
        ages_ms = [age for name, age in zip(message.streams, message.ages_ms, strict=True) if "." in name]
        if message.state == "RUNNING" and ages_ms:
            self.ages_s[_ns(message.header.stamp)] = max(ages_ms) * 1e-3

    def on_chunk(self, message: Any, now_ns: int) -> None:
        """A chunk that arrived at `now_ns`."""
        self.chunks.append((_ns(message.observation_stamp), _ns(message.header.stamp), now_ns))

    def on_command(self, message: Any) -> None:
        """What was commanded."""
        self.in_force_ns.append(_ns(message.header.stamp))

    def rows(self) -> list[dict[str, Any]]:
        """Percentiles of every stage and of the whole way."""
        stages: dict[str, list[float]] = {}
        in_force_ns, lead_ns = np.sort(self.in_force_ns), round(LEAD_TICKS * self.period_s * 1e9)
        for tick_ns, published_ns, arrived_ns in self.chunks:
            at = int(np.searchsorted(in_force_ns, arrived_ns + lead_ns))
            if tick_ns not in self.ages_s or at == len(in_force_ns):
                continue
            way = {
                "capture": self.ages_s[tick_ns],
                "inference": (published_ns - tick_ns) * 1e-9,
                "delivery": (arrived_ns - published_ns) * 1e-9,
                "tick": (int(in_force_ns[at]) - lead_ns - arrived_ns) * 1e-9,
                "lead": lead_ns * 1e-9,
            }
            for stage, seconds in (way | {"camera stamp to command": sum(way.values())}).items():
                stages.setdefault(stage, []).append(seconds)
        return [{"what": stage, **percentiles_ms(found)} for stage, found in stages.items()]


def _ns(stamp: Any) -> int:
    return int(stamp.sec * 10**9 + stamp.nanosec)
