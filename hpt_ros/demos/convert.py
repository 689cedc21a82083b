"""Bags -> a demonstration set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros import __version__
from hpt_ros.demos.align import align
from hpt_ros.demos.bag import EpisodeBag, episode_name, find_bags, open_bag
from hpt_ros.demos.store import FORMAT_VERSION, DemosWriter
from hpt_ros.demos.sync import SyncReport
from hpt_ros.embodiment import Embodiment, embodiment_to, fingerprint, require_same
from hpt_ros.errors import DataError, FingerprintError

Progress = Callable[[int, int, str], None]
"""Called with (bags done, bags in all, name of the bag that comes next)."""


@dataclass(frozen=True)
class ConvertReport:
    """What `convert` wrote: number of episodes and ticks, seconds of demonstration, bags left out with the reason, sync report."""

    out: Path
    episodes: int
    ticks: int
    duration_s: float
    skipped: tuple[tuple[str, str], ...]
    sync: dict[str, dict[str, Any]]


def convert(
    bags: Iterable[Path],
    embodiment: Embodiment | None,
    out: Path,
    *,
    min_score: float = 0.5,
    allow_skips: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ConvertReport:
    """Align the episodes of `bags` (or of folders that hold bags) at the policy rate and write them to `out`.

    Without `embodiment` the one stored in the first bag is used. Episodes scored below `min_score` are left out.
    The same bags and embodiment give the same bytes.

    Raises:
        DataError: a bag cannot be used (all of them are named) and `allow_skips` is not set, or none is left.
        FingerprintError: a bag was recorded with an embodiment whose tensors differ.
        BusyError: `out` exists and `overwrite` is not set.
    """
    paths = find_bags(bags)
    if embodiment is None:
        embodiment = _stored_embodiment(paths)
    converter = _Converter(embodiment, min_score)
    with DemosWriter(out, embodiment, overwrite) as writer:
        for done, path in enumerate(paths):
            if progress:
                progress(done, len(paths), path.name)
            converter.add(path, writer)
        if progress:
            progress(len(paths), len(paths), "")
        converter.check(allow_skips)
        return converter.commit(writer, out)


class _Converter:
    """Collects episodes, and the reasons for those that are left out."""

    def __init__(self, embodiment: Embodiment, min_score: float) -> None:
        self._embodiment = embodiment
        self._min_score = min_score
        self._sync = SyncReport(embodiment)
        self._episodes: list[dict[str, Any]] = []
        self._below_score: list[tuple[str, str]] = []
        self._bad: list[tuple[str, str]] = []

    def add(self, path: Path, writer: DemosWriter) -> None:
        """Convert one bag; a bad one leaves no rows."""
        start = writer.rows
        sync = SyncReport(self._embodiment)
        try:
            with open_bag(path) as bag:
                self._add_bag(bag, writer, sync)
        except FingerprintError:
            raise
        except DataError as error:
            writer.truncate(start)
            self._bad.append((str(path), error.message))
        else:
            self._sync.merge(sync)

    def _add_bag(self, bag: EpisodeBag, writer: DemosWriter, sync: SyncReport) -> None:
        metadata = bag.metadata
        require_same(self._embodiment, metadata.embodiment, "the embodiment", f"bag {bag.path}")
        if metadata.score < self._min_score:
            self._below_score.append((str(bag.path), f"score {metadata.score:g} is below {self._min_score:g}"))
            return
        start = writer.rows
        for row in align(sync.watch(bag.messages(self._embodiment)), self._embodiment):
            writer.append(row)
            sync.add(row)
        self._episodes.append(
            {
                "start": start,
                "stop": writer.rows,
                "score": metadata.score,
                "task": metadata.task,
                "instruction": metadata.instruction,
                "operator": metadata.operator,
                "termination": metadata.termination,
                "software": metadata.software,
                "source": episode_name(bag.path),
            }
        )

    def check(self, allow_skips: bool) -> None:
        """Refuse when bags are bad and that was not allowed for, or when nothing is left."""
        if self._bad and not allow_skips:
            lines = "\n  ".join(f"{path}: {reason}" for path, reason in self._bad)
            raise DataError(
                f"{len(self._bad)} of the bags cannot be converted:\n  {lines}",
                "leave them out, or pass --allow-skips to convert the others",
            )
        if not self._episodes:
            lines = "\n  ".join(f"{path}: {reason}" for path, reason in self._bad + self._below_score)
            raise DataError(f"no episode to convert:\n  {lines}", "record episodes, or lower --min-score")

    def commit(self, writer: DemosWriter, out: Path) -> ConvertReport:
        """Write the index and put the set in its place."""
        skipped = [*self._below_score, *self._bad]
        sync = self._sync.to_mapping()
        ticks = writer.rows
        writer.commit(
            {
                "format": FORMAT_VERSION,
                "embodiment": embodiment_to(self._embodiment),
                "fingerprint": fingerprint(self._embodiment),
                "episodes": self._episodes,
                "skipped": [{"source": episode_name(Path(path)), "reason": reason} for path, reason in skipped],
                "statistics": writer.statistics(),
                "sync": sync,
                "provenance": {"software": f"hpt_ros {__version__}", "min_score": self._min_score},
            }
        )
        seconds = ticks * self._embodiment.policy.period_ns / 1e9
        return ConvertReport(out, len(self._episodes), ticks, seconds, tuple(skipped), sync)


def _stored_embodiment(paths: list[Path]) -> Embodiment:
    for path in paths:
        try:
            with open_bag(path) as bag:
                return bag.metadata.embodiment
        except DataError:
            continue
    raise DataError(f"none of the {len(paths)} bags holds an embodiment", "name one with --embodiment")
