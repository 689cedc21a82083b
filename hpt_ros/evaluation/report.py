"""What trials say: figures of each checkpoint, and comparisons of those that were tried from the same starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hpt_ros.errors import DataError
from hpt_ros.evaluation.comparison import Comparison, compare_all
from hpt_ros.evaluation.trials import Trial, load_trials, summary

_SAME_STARTS = ("task", "seed", "timeout_s", "simulated", "variation", "offline")


@dataclass(frozen=True)
class Evaluation:
    """A folder that `hpt-ros evaluate` wrote: header and counting trials of its trials.jsonl."""

    folder: Path
    header: Mapping[str, Any]
    trials: tuple[Trial, ...]

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Raises DataError where there are no trials."""
        header, trials = load_trials(folder / "trials.jsonl")
        if "checkpoints" not in header:
            raise DataError(f"{folder}: trials of an older version", "run hpt-ros evaluate again, with --overwrite")
        return cls(folder, header, tuple(trials))

    @property
    def names(self) -> dict[str, str]:
        """Path of each checkpoint by the SHA-256 of its weights."""
        return {tried["weights_sha256"]: tried["path"] for tried in self.header["checkpoints"]}


@dataclass(frozen=True)
class Group:
    """Trials that may be compared: from the same starts, under the same conditions."""

    conditions: Mapping[str, Any]
    names: Mapping[str, str]
    trials: tuple[Trial, ...]
    folders: tuple[Path, ...]

    def candidates(self) -> list[dict[str, Any]]:
        """Figures of each checkpoint."""
        return [
            summary([t for t in self.trials if t.checkpoint == key])
            | {"checkpoint": name, "weights_sha256": key.split("@")[0]}
            for key, name in self.names.items()
        ]

    def comparisons(self) -> list[Comparison]:
        """Every pair of checkpoints."""
        return compare_all(self.trials, self.names)


def grouped(evaluations: Sequence[Evaluation]) -> list[Group]:
    """Simulated evaluations of the same starts are one group, even in several folders; on a real arm each is its own."""
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        conditions = {key: evaluation.header.get(key) for key in _SAME_STARTS}
        key = json.dumps(conditions) if conditions["simulated"] else str(evaluation.folder)
        groups.setdefault(key, []).append(evaluation)
    return [_merged(members) for members in groups.values()]


def _merged(members: Sequence[Evaluation]) -> Group:
    names: dict[str, str] = {}
    trials: list[Trial] = []
    for member in members:
        keys = {sha: sha if sha not in names else f"{sha}@{member.folder}" for sha in member.names}
        names |= {keys[sha]: name for sha, name in member.names.items()}
        trials += [
            replace(trial, checkpoint=keys[trial.checkpoint], video=_path(member, trial.video))
            for trial in member.trials
        ]
    conditions = {key: members[0].header.get(key) for key in _SAME_STARTS}
    return Group(conditions, _short(names), tuple(trials), tuple(member.folder for member in members))


def _path(member: Evaluation, name: str) -> str:
    return str(member.folder / name) if name else ""


def _short(names: Mapping[str, str]) -> dict[str, str]:
    """Paths without the folders that all of them share."""
    parts = [Path(name).parts for name in names.values()]
    shared = max(0, min(map(len, parts)) - 3) if len(set(parts)) == 1 else 0
    while len(set(parts)) > 1 and len({p[: shared + 1] for p in parts}) == 1:
        shared += 1
    return {key: str(Path(*Path(name).parts[shared:])) for key, name in names.items()}


def group_mapping(group: Group) -> dict[str, Any]:
    """Plain JSON data."""
    return {
        "conditions": dict(group.conditions),
        "folders": [str(folder) for folder in group.folders],
        "candidates": group.candidates(),
        "comparisons": [asdict(c) | {"shown": c.shown, "findings": c.findings()} for c in group.comparisons()],
    }


def write_summary(path: Path, evaluation: Evaluation) -> dict[str, Any]:
    """Write the figures of one evaluation; those of a single checkpoint also stand at the top."""
    result = dict(evaluation.header) | group_mapping(grouped([evaluation])[0])
    if len(result["candidates"]) == 1:
        result = summary(evaluation.trials) | result
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    temporary.replace(path)
    return result
