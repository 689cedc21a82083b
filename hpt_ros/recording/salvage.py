"""What a crash left behind, made readable again and put aside."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rosbags.rosbag2.metadata import parse_qos

from hpt_ros.errors import BusyError, DataError
from hpt_ros.recording.episode import NOTES, PARTIAL_SUFFIX, QUARANTINE, EpisodeWriter, episode_name, move_out
from hpt_ros.recording.mcap_records import Channel, DamageError, Message, Notes, walk
from hpt_ros.recording.metadata import EpisodeMetadata

INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Salvage:
    """Where an interrupted episode lies now, what of it can be read, and what cannot."""

    path: Path
    messages: int
    duration_s: float
    remark: str

    def __str__(self) -> str:
        return f"{self.path}: {self.messages} messages, {self.duration_s:.1f} s ({self.remark})"


def salvage_all(root: Path) -> Iterator[Salvage]:
    """Put aside every interrupted episode of `root/<task>/`; the original goes away when its copy is on the disk.

    An episode that cannot be copied, for want of space say, stays as it is; the remark says why.
    """
    for half in root.glob(f"*/{QUARANTINE}/.*{PARTIAL_SUFFIX}"):
        shutil.rmtree(half)  # of a salvage that was interrupted itself: its original is still there
    for partial in sorted(root.glob(f"*/.*{PARTIAL_SUFFIX}")):
        try:
            if found := _salvage(partial):
                yield found
        except OSError as error:
            yield Salvage(partial, 0, 0.0, f"left as it is: {error}")


def _salvage(partial: Path) -> Salvage | None:
    name = episode_name(partial)
    bag, target = partial / name, partial.parent / QUARANTINE / name
    mcap = bag / f"{name}.mcap"
    if not mcap.exists() or not mcap.stat().st_size:
        shutil.rmtree(partial)  # killed before the first byte
        return None
    if (bag / "metadata.yaml").exists():
        with_messages = _copy_facts(mcap)
        return Salvage(move_out(partial, target), *with_messages, "complete, but never acknowledged")
    copy = _copied(mcap, target)
    if target.exists():
        shutil.rmtree(partial)
    else:
        move_out(partial, target)
    return copy


def salvage_bag(bag: Path) -> Salvage:
    """Copy what can be read of a damaged bag of this package to the quarantine beside it; the bag stays as it is.

    Raises:
        DataError: it is not one MCAP file, or nothing of an episode can be read.
        BusyError: there is such a copy.
        OSError: the disk refuses.
    """
    files = [bag] if bag.is_file() else sorted(bag.glob("*.mcap"))
    if len(files) != 1:
        raise DataError(f"{bag}: {len(files)} .mcap files, expected one", "give the folder of one episode")
    target = bag.resolve().parent / QUARANTINE / bag.resolve().stem
    if target.exists():
        raise BusyError(f"{target} exists", "delete it to salvage the bag again")
    copy = _copied(files[0], target)
    if not target.exists():
        raise DataError(f"{bag}: {copy.remark}", "bags of other recorders: `mcap recover` (mcap.dev)")
    return copy


def _copied(mcap: Path, target: Path) -> Salvage:
    """Write the new bag `target`, unless not even the episode's facts can be read."""
    found = _Copy(target)
    try:
        for item in walk(mcap):
            found.add(item)
        remark = "the file is whole"
    except DataError as error:
        remark = f"ends {error.message}"
    if found.about is None:
        return Salvage(target, 0, 0.0, f"nothing readable: {remark}")
    found.commit(remark)
    return Salvage(target, found.messages, found.duration_s, remark)


def _copy_facts(mcap: Path) -> tuple[int, float]:
    stamps = [item.log_ns for item in walk(mcap) if isinstance(item, Message)]
    return len(stamps), (max(stamps) - min(stamps)) / 1e9 if stamps else 0.0


class _Copy:
    """Writes what is read to a new bag; the episode's facts come first in the file."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._writer: EpisodeWriter | None = None
        self.about: EpisodeMetadata | None = None
        self.messages = 0
        self._first_ns = self._last_ns = 0

    def add(self, item: Notes | Channel | Message) -> None:
        if isinstance(item, Notes):
            if item.name == NOTES and self.about is None:
                self.about = EpisodeMetadata.from_custom_data(item.values)
                self._writer = EpisodeWriter(self._target.parent, self._target.name, self.about)
        elif self._writer is None:
            raise DamageError(0, "no facts of the episode at the head of the file")
        elif isinstance(item, Channel):
            self._writer.add_topic(item.topic, item.msgtype, parse_qos(item.metadata.get("offered_qos_profiles", "")))
        else:
            self._writer.write(item.channel.topic, item.log_ns, item.raw, item.publish_ns, item.sequence)
            self._first_ns = self._first_ns or item.log_ns
            self._last_ns = max(self._last_ns, item.log_ns)
            self.messages += 1

    @property
    def duration_s(self) -> float:
        return (self._last_ns - self._first_ns) / 1e9

    def commit(self, remark: str) -> None:
        assert self._writer is not None
        assert self.about is not None
        note = f"{self.about.note}; salvaged: {remark}".removeprefix("; ")
        self._writer.commit(replace(self.about, score=0.0, termination=INTERRUPTED, note=note))
