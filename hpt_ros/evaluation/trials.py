"""Scored trials in a file that a crash cannot shorten."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpt_ros.configuration import check, from_mapping
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.evaluation.statistics import bootstrap_interval, wilson_interval

SCORES = (0.0, 0.5, 1.0)
_VOID = "void"


@dataclass(frozen=True)
class Trial:
    """One trial of one checkpoint; rates and latencies are the nodes' own figures at its end.

    `score` is 0, 0.5 (partly done) or 1; `termination` is success, timeout, fault, held, refused
    (by the commander's start guard) or operator, and `reason` the commander's words for it. `checkpoint` is the SHA-256 of
    its weights, `block` the start that it shares with trials of other checkpoints, `interventions` how often a person's
    device took over. `bag` and `video` are paths, empty where there is none.
    """

    index: int
    seed: int
    score: float
    termination: str
    duration_s: float
    policy_rate_hz: float
    policy_latency_p50_ms: float
    policy_latency_p99_ms: float
    command_rate_hz: float
    command_lateness_p99_ms: float
    chunk_latency_p99_ms: float
    stale_ticks: int
    rows_late: int
    real_time_factor: float
    checkpoint: str = ""
    block: int = 0
    reason: str = ""
    note: str = ""
    interventions: int = 0
    bag: str = ""
    video: str = ""
    ended_at: str = ""

    def __post_init__(self) -> None:
        check(self.score in SCORES, "score", self.score, f"one of {SCORES}")


class TrialLog:
    """JSON lines: a header that says what is tried, then a row per trial, each on disk before `append` returns.

    A row that is taken back stays, and a later row says so: the file only grows. `replace` moves a file with another header aside instead of refusing it.

    Raises:
        DataError: the file exists with another header, or a line in its middle cannot be read.
    """

    def __init__(self, path: Path, header: dict[str, Any], replace: bool = False) -> None:
        self._path = path
        self.trials: list[Trial] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            try:
                self._load(header)
            except DataError:
                if not replace:
                    raise
                path.rename(path.with_suffix(f".{path.stat().st_mtime_ns}.jsonl"))
                self.trials = []
        if not path.exists():
            self._write(header)

    def append(self, trial: Trial) -> None:
        """Add a row and force it to the disk."""
        self._write(asdict(trial))
        self.trials.append(trial)

    def take_back(self, trial: Trial) -> None:
        """Let a trial count no more, e.g. because its score was wrong; its index is free again."""
        self._write({_VOID: trial.index})
        self.trials.remove(trial)

    def _write(self, row: dict[str, Any]) -> None:
        with self._path.open("a") as stream:
            stream.write(json.dumps(row, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _load(self, header: dict[str, Any]) -> None:
        text = self._path.read_text()
        complete, _, torn = text.rpartition("\n")
        if torn:  # a crash during the last write: that trial was never acknowledged
            os.truncate(self._path, len(complete.encode()) + bool(complete))
        lines = complete.splitlines()
        try:
            found = json.loads(lines[0]) if lines else None
            self.trials = _counting(json.loads(line) for line in lines[1:])
        except (json.JSONDecodeError, ConfigError) as error:
            raise DataError(
                f"{self._path}: {error}", "add --overwrite to move it aside and run the trials again"
            ) from error
        if found is None:
            self._write(header)
        elif found != header:
            changed = [k for k in header.keys() | found.keys() if header.get(k) != found.get(k)]
            raise DataError(
                f"{self._path} holds trials of something else: "
                + "; ".join(f"{k} was {found.get(k)!r}, is {header.get(k)!r}" for k in sorted(changed)),
                "choose another --out, or add --overwrite",
            )


def load_trials(path: Path) -> tuple[dict[str, Any], list[Trial]]:
    """Header and counting trials of a file; it is only read.

    Raises:
        DataError: it cannot be read.
    """
    try:
        lines = path.read_text().rpartition("\n")[0].splitlines()
        return json.loads(lines[0]), _counting(json.loads(line) for line in lines[1:])
    except (OSError, IndexError, json.JSONDecodeError, ConfigError) as error:
        raise DataError(f"{path}: no trials: {error}", "give a folder that hpt-ros evaluate wrote") from error


def _counting(rows: Iterable[dict[str, Any]]) -> list[Trial]:
    trials: dict[int, Trial] = {}
    for row in rows:
        if _VOID in row:
            trials.pop(row[_VOID], None)
        else:
            trial = from_mapping(Trial, row)
            trials[trial.index] = trial
    return list(trials.values())


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """Success rate with its 95 % Wilson interval, mean score with its bootstrap interval, and the nodes' figures over the trials."""
    successes = sum(trial.score == 1.0 for trial in trials)
    low, high = wilson_interval(successes, len(trials))

    def over(name: str) -> dict[str, float]:
        values = [getattr(trial, name) for trial in trials]
        return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else {}

    return {
        "trials": len(trials),
        "successes": successes,
        "success_rate": successes / len(trials) if trials else 0.0,
        "interval_95": [low, high],
        "mean_score": statistics.fmean(t.score for t in trials) if trials else 0.0,
        "mean_score_interval_95": list(bootstrap_interval([t.score for t in trials])) if trials else [0.0, 1.0],
        "time_to_success_s": statistics.median([t.duration_s for t in trials if t.score == 1.0]) if successes else None,
        "terminations": {
            name: sum(t.termination == name for t in trials) for name in sorted({t.termination for t in trials})
        },
        "interventions": sum(t.interventions for t in trials),
        "stale_ticks": sum(t.stale_ticks for t in trials),
        "rows_late": sum(t.rows_late for t in trials),
        **{
            name: over(name)
            for name in (
                "policy_rate_hz",
                "policy_latency_p50_ms",
                "policy_latency_p99_ms",
                "command_rate_hz",
                "command_lateness_p99_ms",
                "chunk_latency_p99_ms",
                "real_time_factor",
            )
        },
    }
