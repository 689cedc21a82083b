"""Bags -> a demonstration set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpt_ros import __version__
from hpt_ros.demos.bag import episode_name, find_bags, open_bag
from hpt_ros.demos.merge import Merge
from hpt_ros.demos.part import Job, Outcome, finished, job_key, used_streams
from hpt_ros.demos.partial import PartialSet
from hpt_ros.demos.pool import run_jobs
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.demos.store import FORMAT_VERSION, INDEX, statistics
from hpt_ros.embodiment import Embodiment, embodiment_to, fingerprint
from hpt_ros.errors import DataError, FingerprintError
from hpt_ros.paths import sync
from hpt_ros.recording.edits import Edit, edit_of

Progress = Callable[[float, int, str], None]
"""Called with (bags done, parts of bags included; bags in all; name of the bag that was worked on last)."""


@dataclass(frozen=True)
class ConvertReport:
    """What `convert` wrote: number of episodes and ticks, seconds of demonstration, bags left out with the reason, sync report.

    `bad`: how many of `skipped` could not be used. `edits`: corrections that were honoured, by task folder and name of the
    bag. `kept`: episodes that an earlier, interrupted run had finished. `remarks`: what is unusual, by bag. `idle_s`: time
    cut off for want of motion, by episode. `idle_share`: part of the rest without motion.
    """

    out: Path
    episodes: int
    ticks: int
    duration_s: float
    skipped: tuple[tuple[str, str], ...]
    sync: dict[str, dict[str, Any]]
    edits: dict[str, Edit] = field(default_factory=dict)
    bad: int = 0
    kept: int = 0
    remarks: tuple[tuple[str, str], ...] = ()
    idle_s: dict[str, float] = field(default_factory=dict)
    idle_share: float = 0.0


def convert(
    bags: Iterable[Path],
    embodiment: Embodiment | None,
    out: Path,
    settings: ConvertSettings | None = None,
    *,
    allow_skips: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> ConvertReport:
    """Align the episodes of `bags` (or of folders that hold bags) at the policy rate and write them to `out`.

    Without `embodiment` the one stored in the first bag is used. Corrections beside the bags (`hpt-ros bags`) are honoured:
    exclusion, score, trimmed ends. Bags, embodiment and settings determine every byte, whatever the number of `workers`;
    one worker is this process. Until the set is complete it lies in `.NAME.partial` beside `out`, where the same call
    finds finished episodes again.

    Raises:
        DataError: a bag cannot be used (all of them are named) and `allow_skips` is not set, or none is left.
        FingerprintError: a bag was recorded with an embodiment whose tensors differ.
        BusyError: `out` exists and `overwrite` is not set, or another run writes it.
    """
    settings = settings or ConvertSettings()
    paths = find_bags(bags)
    if embodiment is None:
        embodiment = _stored_embodiment(paths)
    with PartialSet(out, overwrite) as partial:
        conversion = _Conversion(embodiment, settings, partial)
        try:
            conversion.run(paths, workers, progress or (lambda *_: None))
            conversion.check(allow_skips)
            return conversion.commit(out)
        except BaseException:
            conversion.discard()
            raise


class _Conversion:
    """What became of each bag, in the order in which the bags were given."""

    def __init__(self, embodiment: Embodiment, settings: ConvertSettings, partial: PartialSet) -> None:
        self._embodiment = embodiment
        self._settings = settings
        self._partial = partial
        self._outcomes: dict[Path, Outcome | None] = {}
        self._jobs: dict[Path, Job] = {}
        self._kept = 0
        self._merge = Merge(partial.set_folder, embodiment, used_streams(embodiment, settings))
        self._merged = 0

    def run(self, paths: Sequence[Path], workers: int, progress: Progress) -> None:
        """Convert what no earlier run has finished."""
        self._outcomes = dict.fromkeys(paths)  # fixes their order
        left = [job for path in paths if (job := self._job(path)) is not None]
        shares = dict.fromkeys([job.bag for job in left], 0.0)
        done = len(paths) - len(left)
        progress(done, len(paths), "")
        self._advance()
        # closed at once: left to the end of the interpreter, its workers' threads could not be joined any more
        with closing(run_jobs(left, self._embodiment, self._settings, workers, self._partial.lock)) as events:
            for job, event in events:
                if isinstance(event, OSError):
                    raise event
                if isinstance(event, Outcome):
                    self._take(job, event)
                shares[job.bag] = 1.0 if isinstance(event, Outcome) else event
                progress(done + sum(shares.values()), len(paths), job.bag.name)

    def _job(self, path: Path) -> Job | None:
        """What is to be done for a bag; None if its outcome is known."""
        folder = self._partial.episode_folder(path)
        try:
            job = Job(path, folder, job_key(path, self._embodiment, self._settings))
        except DataError as error:
            self._outcomes[path] = Outcome("bad", error.message, error.remedy)
            return None
        self._jobs[path] = job
        outcome = finished(job, self._settings.min_score)
        if outcome is None:
            return job
        self._outcomes[path] = outcome
        self._kept += outcome.kind == "episode"
        return None

    def _take(self, job: Job, outcome: Outcome) -> None:
        if outcome.kind == "mismatch":
            raise FingerprintError(outcome.reason, outcome.remedy)
        self._outcomes[job.bag] = outcome
        self._advance()

    def _advance(self) -> None:
        """Merge what is finished up to the first bag that is not."""
        for path, outcome in [*self._outcomes.items()][self._merged :]:
            if outcome is None:
                return
            if outcome.kind == "episode":
                self._merge.add(self._jobs[path].folder)
            self._merged += 1

    def check(self, allow_skips: bool) -> None:
        """Refuse when bags are bad and that was not allowed for, or when nothing is left."""
        bad, left_out = self._of("bad"), self._of("left_out")
        if bad and not allow_skips:
            raise DataError(
                f"{len(bad)} of the bags cannot be converted:\n  {_lines(bad)}",
                "repair or exclude them (hpt-ros bags exclude), or pass --allow-skips to convert the others; "
                "what is finished is kept for the next run",
            )
        if not self._of("episode"):
            raise DataError(
                f"no episode to convert:\n  {_lines(bad + left_out)}", "record episodes, or lower --min-score"
            )

    def commit(self, out: Path) -> ConvertReport:
        """Put the set in its place."""
        self._merge.finish()
        report = self._merge.sync_report()
        _write_index(self._partial.set_folder, self._index(report))
        self._partial.commit()
        return self._report(out, report)

    def discard(self) -> None:
        """Give back the space of a set that will not be completed; finished episodes stay."""
        self._merge.discard()

    def _index(self, report: dict[str, dict[str, Any]]) -> dict[str, Any]:
        skipped = [(episode_name(path), outcome.text) for path, outcome in self._of("left_out", "bad")]
        return {
            "format": FORMAT_VERSION,
            "embodiment": embodiment_to(self._embodiment),
            "fingerprint": fingerprint(self._embodiment),
            "episodes": self._merge.episodes,
            "images": self._merge.images,
            "skipped": [{"source": name, "reason": reason} for name, reason in skipped],
            "statistics": statistics(self._partial.set_folder),
            "sync": report,
            "provenance": {
                "software": f"hpt_ros {__version__}",
                **self._settings.to_mapping(),
                "edits": {name: edit.to_mapping() for name, edit in self._edits().items()},
            },
        }

    def _report(self, out: Path, sync_by_stream: dict[str, Any]) -> ConvertReport:
        episodes, remarks = self._merge.episodes, self._merge.remarks
        ticks = sum(episode["stop"] - episode["start"] for episode in episodes)
        still = sum(episode["idle_share"] * (episode["stop"] - episode["start"]) for episode in episodes)
        return ConvertReport(
            out=out,
            episodes=len(episodes),
            ticks=ticks,
            duration_s=ticks * self._embodiment.policy.period_ns / 1e9,
            skipped=tuple((str(path), outcome.text) for path, outcome in self._of("left_out", "bad")),
            sync=sync_by_stream,
            edits=self._edits(),
            bad=len(self._of("bad")),
            kept=self._kept,
            remarks=tuple((e["source"], text) for e, texts in zip(episodes, remarks, strict=True) for text in texts),
            idle_s={episode["source"]: sum(episode["idle_trimmed_s"]) for episode in episodes},
            idle_share=still / ticks,
        )

    def _of(self, *kinds: str) -> list[tuple[Path, Outcome]]:
        """Bags of these kinds, kind by kind."""
        known = [(path, outcome) for path, outcome in self._outcomes.items() if outcome is not None]
        return [item for kind in kinds for item in known if item[1].kind == kind]

    def _edits(self) -> dict[str, Edit]:
        known = [path for path in self._outcomes if path in self._jobs]
        edits = {episode_name(path): edit_of(path) for path in known}
        return {name: edit for name, edit in edits.items() if edit != Edit()}


def _lines(bags: list[tuple[Path, Outcome]]) -> str:
    return "\n  ".join(f"{path}: {outcome.text}" for path, outcome in bags)


def _write_index(folder: Path, index: dict[str, Any]) -> None:
    (folder / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True, allow_nan=False) + "\n")
    sync(folder / INDEX)


def _stored_embodiment(paths: list[Path]) -> Embodiment:
    reasons = []
    for path in paths:
        try:
            with open_bag(path) as bag:
                return bag.metadata.embodiment
        except DataError as error:
            reasons.append(f"{path}: {error.message}" + (f" -> {error.remedy}" if error.remedy else ""))
    raise DataError(
        f"none of the {len(paths)} bags holds an embodiment:\n  " + "\n  ".join(reasons[:5]),
        "name one with --embodiment; bags of other recorders need --task and --score as well",
    )
