"""What came of many chunks shot at one robot: counts that parts of a run, each in a process of its own, add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hpt_ros.benchmarks.limits_check import SHARES, MotionCheck
from hpt_ros.benchmarks.report import Goal, percentiles_ms


@dataclass
class Tally:
    """Chunks by kind, refusals and limits by reason; `tick_s` is processor time of one thread a tick [s]."""

    chunks: int = 0
    ticks: int = 0
    taken: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    used: dict[str, float] = field(default_factory=dict)
    tick_s: list[float] = field(default_factory=list)

    def judged(self, check: MotionCheck) -> Tally:
        """With what the motions of all its chunks came to."""
        self.passed, self.used = Counter(check.passed), dict(check.used)
        return self

    def add(self, other: Tally) -> None:
        """Counts add up; of each limit the most that was used, of room in space the least that was left."""
        self.chunks += other.chunks
        self.ticks += other.ticks
        self.taken += other.taken
        self.rejected += other.rejected
        self.limits += other.limits
        self.faults += other.faults
        self.passed += other.passed
        self.tick_s += other.tick_s
        for kind, value in other.used.items():
            worse = max if kind in SHARES else min
            self.used[kind] = worse(self.used.get(kind, value), value)

    def row(self, robot: str) -> dict[str, object]:
        """The line of the table."""
        used, times = self.used, percentiles_ms(self.tick_s)
        return {
            "robot": robot,
            "chunks": self.chunks,
            "taken": self.taken,
            "ticks": self.ticks,
            **{f"{kind}": used[kind] for kind in ("velocity", "acceleration", "jerk")},
            **{f"{kind} left mm": used[kind] * 1e3 for kind in ("workspace", "table", "self-collision")},
            "passed": self.passed.total(),
            "tick p50 ms": times["p50_ms"],
            "tick p99 ms": times["p99_ms"],
        }

    def goals(self, robot: str) -> list[Goal]:
        """No limit passed, no fault."""
        return [
            Goal(f"{robot}: limits passed", float(self.passed.total()), 0.0),
            Goal(f"{robot}: faults", float(self.faults.total()), 0.0),
        ]

    def notes(self, robot: str) -> list[str]:
        """What was passed, what went wrong, and by what the arm was held back."""
        passed = {kind: count for kind, count in self.passed.items() if count}
        notes = [f"{robot}: passed {passed}"] if passed else []
        notes += [f"{robot}: {reason} ({count} times)" for reason, count in self.faults.items()]
        return [*notes, f"{robot}: refused {dict(self.rejected)}; limited by {dict(self.limits)}"]
