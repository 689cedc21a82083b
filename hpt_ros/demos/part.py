"""One bag -> one episode on disk: its arrays and, once they are complete, `episode.json`. Runs in worker processes."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpt_ros import __version__
from hpt_ros.demos.align import Aligner, Row
from hpt_ros.demos.bag import EpisodeBag, episode_name, open_bag
from hpt_ros.demos.frames import kept
from hpt_ros.demos.idle import activity
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.demos.source import content_hash
from hpt_ros.demos.store import FORMAT_VERSION, NpyAppender, RowsWriter
from hpt_ros.demos.sync import EpisodeSync, ages_ns
from hpt_ros.embodiment import Embodiment, StreamSpec, as_received, embodiment_to, require_same
from hpt_ros.errors import DataError, FingerprintError, HptRosError
from hpt_ros.recording.edits import edit_of

FACTS = "episode.json"
AGES = "ages_ns.npy"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SHARE_PERIOD_S = 0.5

Said = Callable[[float], None]
"""Called now and then with the share of the bag that is done."""


@dataclass(frozen=True)
class Outcome:
    """What became of a bag: an `episode`; `left_out` as told; `bad`: cannot be used; `mismatch`: of another embodiment."""

    kind: Literal["episode", "left_out", "bad", "mismatch"]
    reason: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """Reason and remedy in a line."""
        return f"{self.reason} -> {self.remedy}" if self.remedy else self.reason


@dataclass(frozen=True)
class Job:
    """Convert `bag` into `folder`; `key` tells whether a finished episode there is the one that is wanted."""

    bag: Path
    folder: Path
    key: str


def used_streams(embodiment: Embodiment, settings: ConvertSettings) -> tuple[StreamSpec, ...]:
    """What an episode is made of, in the order of the columns of `AGES`."""
    return (*embodiment.streams(), *(() if settings.from_state else (embodiment.command_stream(),)))


def job_key(bag: Path, embodiment: Embodiment, settings: ConvertSettings) -> str:
    """Hash of everything that an episode's rows depend on.

    Raises:
        DataError: the edits beside the bag cannot be read.
    """
    facts = {
        "boot": _BOOT_ID.read_text(),  # nothing of an episode is synced: what a power cut leaves of it is not trusted
        "software": f"{__version__} {FORMAT_VERSION}",
        "bag": content_hash(bag),
        "edit": edit_of(bag).to_mapping(),
        "embodiment": embodiment_to(embodiment),
        "settings": {key: value for key, value in settings.to_mapping().items() if key != "min_score"},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def is_complete(folder: Path) -> bool:
    """Whether an episode in `folder` is finished."""
    return (folder / FACTS).is_file()


def finished(job: Job, min_score: float) -> Outcome | None:
    """The outcome of a job that an earlier run has finished in the same way."""
    if not is_complete(job.folder):
        return None
    try:
        facts = json.loads((job.folder / FACTS).read_text())
    except ValueError:  # what a power cut left
        return None
    return _selected(facts["facts"]["score"], min_score) if facts["key"] == job.key else None


def convert_bag(job: Job, embodiment: Embodiment, settings: ConvertSettings, said: Said) -> Outcome:
    """Write the episode of a bag to the job's folder; nothing stays there if it is left out or bad.

    Raises:
        OSError: the disk refuses.
    """
    shutil.rmtree(job.folder, ignore_errors=True)
    try:
        with open_bag(job.bag, embodiment, settings.outside, settings.types) as bag:
            recorded = bag.metadata.embodiment
            require_same(as_received(embodiment), as_received(recorded), "the embodiment", f"bag {bag.path}")
            outcome = _wanted(bag, settings)
            if outcome.kind == "episode":
                _convert(bag, job, embodiment, settings, said)
            return outcome
    except FingerprintError as error:
        return Outcome("mismatch", error.message, error.remedy)
    except HptRosError as error:
        shutil.rmtree(job.folder, ignore_errors=True)
        return Outcome("bad", error.message, error.remedy)


def obstacle(path: Path) -> str:
    """Why the messages of a new recording give no rows, as a conversion with the usual settings would say; "" if they do."""
    try:
        with open_bag(path) as bag:
            robot = bag.metadata.embodiment
            for _ in Aligner(robot, camera_decoder=kept).rows(bag.stamped(robot)):
                pass
    except HptRosError as error:
        return error.message
    return ""


def _wanted(bag: EpisodeBag, settings: ConvertSettings) -> Outcome:
    if bag.edit.excluded:
        return Outcome("left_out", str(bag.edit))
    return _selected(bag.score, settings.min_score)


def _selected(score: float, min_score: float) -> Outcome:
    if score < min_score:
        return Outcome("left_out", f"score {score:g} is below {min_score:g}")
    return Outcome("episode")


def _convert(bag: EpisodeBag, job: Job, embodiment: Embodiment, settings: ConvertSettings, said: Said) -> None:
    specs = used_streams(embodiment, settings)
    keys = [spec.key for spec in specs]
    pace = EpisodeSync()
    aligner = Aligner(embodiment, settings.from_state, kept)
    messages = bag.stamped(embodiment, not settings.from_state, settings.receive_time)
    with (
        RowsWriter(job.folder, embodiment, received=True, interventions=not settings.from_state) as writer,
        closing(NpyAppender(job.folder / AGES, "<i8", (len(keys),))) as ages,
    ):
        for row in _telling(aligner.rows(pace.watch(messages)), bag, said):
            writer.append(row)
            ages.append(ages_ns(row, keys))
        writer.close()
    if not settings.allow_slow:
        pace.check_rates(specs)
    _finish(bag, job, embodiment, settings, pace.to_mapping(aligner.passed_over))


def _telling(rows: Iterable[Row], bag: EpisodeBag, said: Said) -> Iterator[Row]:
    """Pass the rows on, saying now and then how far they have come."""
    start_ns, stop_ns = bag.span_ns
    told_s = time.monotonic()
    for row in rows:
        yield row
        if time.monotonic() - told_s > _SHARE_PERIOD_S:
            told_s = time.monotonic()
            said(min(1.0, max(0.0, (row.observation.tick_ns - start_ns) / max(1, stop_ns - start_ns))))


def _finish(
    bag: EpisodeBag,
    job: Job,
    embodiment: Embodiment,
    settings: ConvertSettings,
    figures: dict[str, dict[str, int]],
) -> None:
    period_s = embodiment.policy.period_ns / 1e9
    commands = np.load(job.folder / "command.npy")
    active = activity(commands, embodiment.command_names, period_s, settings.keep_idle)
    if active.stop - active.start < 2:
        raise DataError("fewer than two ticks: there is no step to learn", "record longer, or exclude the bag")
    about = bag.metadata
    remarks = [*bag.remarks]
    if settings.receive_time:
        remarks.append("stamped with the times of receipt")
    if active.never_moves:
        remarks.append("nothing moves in it: kept whole")
    facts = {
        "key": job.key,
        "start": active.start,
        "stop": active.stop,
        "sync": figures,
        "remarks": remarks,
        "facts": {
            "score": bag.score,
            "task": about.task,
            "instruction": about.instruction,
            "operator": about.operator,
            "termination": about.termination,
            "software": about.software,
            "source": episode_name(bag.path),
            "scene_seed": about.scene_seed,
            "idle_trimmed_s": [round(n * period_s, 3) for n in (active.start, len(commands) - active.stop)],
            "idle_share": active.idle_share,
        },
    }
    new = job.folder / f".{FACTS}.new"
    new.write_text(json.dumps(facts))
    new.replace(job.folder / FACTS)


def outcome_to(outcome: Outcome) -> dict[str, Any]:
    """Plain data; `Outcome(**data)` reads it back."""
    return asdict(outcome)
