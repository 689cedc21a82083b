"""Start, stop, discard and undo: what a recorder does, without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from rosbags.interfaces import Qos

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import BusyError, DataError
from hpt_ros.recording.episode import QUARANTINE, EpisodeWriter
from hpt_ros.recording.folder import BagsFolder, to_trash
from hpt_ros.recording.mcap_writer import QUEUE_BYTES, SLOW_DISK_BYTES
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.recording.monitor import StreamWarning
from hpt_ros.recording.salvage import INTERRUPTED
from hpt_ros.recording.space import DEFAULT_EPISODE_S, SpaceEstimate
from hpt_ros.recording.tally import TopicTally

SCORES = (0.0, 0.5, 1.0)
DISK_FLOOR = "disk floor"
_MAX_WARNINGS = 200  # per episode; a stream that comes and goes is not to fill the metadata
State = Literal["IDLE", "RECORDING", "ERROR"]


@dataclass(frozen=True)
class OfferedTopic:
    """A topic that has publishers: its type, the quality of service of each, the expected rate [Hz] (0: none)."""

    msgtype: str
    offered_qos: tuple[Qos, ...] = ()
    rate_hz: float = 0.0


@dataclass(frozen=True)
class _Episode:
    writer: EpisodeWriter
    about: EpisodeMetadata
    start_ns: int
    warnings: list[str] = field(default_factory=list)


class RecordingSession:
    """The episodes that one recorder makes, one after the other.

    `state` is ERROR after a write error, until the next start; `reason` says why.
    """

    def __init__(
        self,
        folder: BagsFolder,
        embodiment: Embodiment,
        min_free_bytes: int,
        compress: bool = False,
        episode_s: float = DEFAULT_EPISODE_S,
    ) -> None:
        self._folder = folder
        self._embodiment = embodiment
        self._min_free_bytes = min_free_bytes
        self._compress = compress
        self._episode: _Episode | None = None
        self._committed: list[Path] = []
        self._last = EpisodeMetadata(embodiment, "", "", "", 0.0, INTERRUPTED)
        self.space = SpaceEstimate(episode_s)
        self.state: State = "IDLE"
        self.reason = ""
        self.episodes_target = 0

    def start(
        self,
        task: str,
        instruction: str,
        operator: str,
        topics: Mapping[str, OfferedTopic],
        now_ns: int,
        episodes_target: int = 0,
        live_bytes_per_s: float = 0.0,
    ) -> Path:
        """Begin an episode; returns the path that it will have.

        `episodes_target` is that of the session, 0 leaves it as it is; space for the missing ones must be free, by the
        rate and length of the episodes so far, or by `live_bytes_per_s` of the topics before the first.

        Raises:
            BusyError: an episode is running.
            DataError: too little space, a task that is no folder name, or a disk that refuses.
        """
        if self._episode is not None:
            raise BusyError(f"{self._episode.writer.path} is being recorded", "stop or discard it first")
        target = episodes_target or self.episodes_target
        self._check_space(self._needed_bytes(target, live_bytes_per_s))
        about = EpisodeMetadata(self._embodiment, task, instruction, operator, 0.0, INTERRUPTED)
        try:
            writer = self._folder.new_episode(about, datetime.fromtimestamp(now_ns / 1e9), self._compress)
        except OSError as error:
            raise DataError(f"cannot record to {self._folder.root}: {error}", "check the disk and bags_dir") from error
        self._episode = _Episode(writer, about, now_ns)
        self._last = about
        self.episodes_target = target
        self.state, self.reason = "RECORDING", ""
        for name, topic in topics.items():
            self.add_topic(name, topic)
        if self._episode is None:
            raise DataError(self.reason, "check the disk")
        return writer.path

    def has_topic(self, name: str) -> bool:
        """Whether the running episode knows the topic."""
        return self._episode is not None and self._episode.writer.has_topic(name)

    def add_topic(self, name: str, topic: OfferedTopic) -> None:
        """Announce a topic, also one that came up during the episode."""
        if self._episode is None:
            return
        try:
            self._episode.writer.add_topic(name, topic.msgtype, topic.offered_qos, topic.rate_hz)
        except OSError as error:
            self._fail(error)

    def write(
        self,
        name: str,
        receive_ns: int,
        raw: bytes,
        publish_ns: int | None = None,
        sequence: int = 0,
        publisher: bytes = b"",
    ) -> None:
        """Append a message to the running episode, as `EpisodeWriter.write`; a write error ends it and sets ERROR."""
        if self._episode is None:
            return
        try:
            self._episode.writer.write(name, receive_ns, raw, publish_ns, sequence, publisher)
        except OSError as error:
            self._fail(error)

    def check(self, now_ns: int) -> Path | None:
        """End the episode if the disk refused or is nearly full; returns the path of one that was kept in time.

        That one has score 0, so that conversion leaves it out until someone scores it, and the termination `disk floor`.
        """
        if self._episode is None:
            return None
        try:
            self._episode.writer.check()
        except OSError as error:
            self._fail(error)
            return None
        free = self._folder.free_bytes
        if free >= self._min_free_bytes:
            return None
        path = self.stop(0.0, f"{free / 1e9:.2f} GB were free", DISK_FLOOR, now_ns)
        self.reason = f"the disk is nearly full ({free / 1e9:.2f} GB free): ended and kept {path.name} with score 0"
        return path

    def disk_warning(self) -> StreamWarning | None:
        """Told while the disk falls behind, before `QUEUE_BYTES` wait and the episode ends."""
        waiting = self._episode.writer.waiting_bytes if self._episode else 0
        if waiting < SLOW_DISK_BYTES:
            return None
        text = f"disk: slow: {waiting >> 20} MB wait for it, at {QUEUE_BYTES >> 20} MB the episode ends with an error"
        return StreamWarning("disk", "slow", text)

    def note_warning(self, text: str, now_ns: int) -> None:
        """Keep a warning for the metadata of the running episode."""
        if self._episode is not None and len(self._episode.warnings) < _MAX_WARNINGS:
            self._episode.warnings.append(f"{self.duration_s(now_ns):.1f} s: {text}")

    def stop(self, score: float, note: str, termination: str, now_ns: int | None = None) -> Path:
        """Complete the episode; when this returns it is on disk under its name.

        Raises:
            DataError: no episode is running, the score is not 0, 0.5 or 1, or the disk refuses.
        """
        episode = self._running()
        if score not in SCORES:
            raise DataError(
                f"score {score:g}: expected 0, 0.5 or 1", "stop again with one of these; the episode runs on"
            )
        try:
            path = episode.writer.commit(self._metadata(episode, score, note, termination))
        except OSError as error:
            self._fail(error)
            raise DataError(self.reason, "check the disk") from error
        self._committed.append(path)
        self.space.add(episode.writer.size_bytes, self._length_s(episode, now_ns))
        self._episode = None
        self.state, self.reason = "IDLE", ""
        return path

    def discard(self) -> Path:
        """Delete the running episode; returns the path that it would have had.

        Raises:
            DataError: no episode is running, or the disk refuses.
        """
        episode = self._running()
        self._episode = None
        self.state, self.reason = "IDLE", "discarded"
        try:
            episode.writer.discard()
        except OSError as error:
            raise DataError(f"could not delete all of {episode.writer.path.name}: {error}") from error
        return episode.writer.path

    def undo(self) -> Path:
        """Move the last committed episode of this session to the trash, and next time the one before; returns where it lies.

        Raises:
            BusyError: an episode is running.
            DataError: no episode is left to undo, or the disk refuses.
        """
        if self._episode is not None:
            raise BusyError(f"{self._episode.writer.path} is being recorded", "discard it instead")
        if not self._committed:
            raise DataError("no episode of this session is left to undo", "exclude older ones: hpt-ros bags exclude")
        try:
            target = to_trash(self._committed[-1])
        except OSError as error:
            raise DataError(f"could not undo {self._committed[-1].name}: {error}", "check the disk") from error
        undone = self._committed.pop()
        self.state, self.reason = "IDLE", f"undone: {undone.name}"
        return target

    def close(self) -> Path | None:
        """End the session; an episode that was not stopped goes to quarantine, complete. Returns where it lies."""
        episode, self._episode = self._episode, None
        if episode is None:
            return None
        path = episode.writer.path
        metadata = self._metadata(episode, 0.0, "the recorder ended", INTERRUPTED)
        return episode.writer.commit(metadata, path.parent / QUARANTINE / path.name)

    @property
    def path(self) -> Path | None:
        """Of the running episode, else of the last complete one."""
        if self._episode:
            return self._episode.writer.path
        return self._committed[-1] if self._committed else None

    @property
    def about(self) -> EpisodeMetadata:
        """Task and instruction of the running episode, else of the last one."""
        return self._last

    @property
    def episodes_done(self) -> int:
        """Committed in this session and not undone."""
        return len(self._committed)

    @property
    def tallies(self) -> dict[str, TopicTally]:
        """What was written of the running episode, by topic."""
        return self._episode.writer.tallies if self._episode else {}

    def needed_bytes(self, live_bytes_per_s: float) -> int:
        """Predicted for the episodes that are still missing; 0 without a target."""
        return self._needed_bytes(self.episodes_target, live_bytes_per_s)

    def duration_s(self, now_ns: int) -> float:
        """Length of the running episode."""
        return max(0.0, (now_ns - self._episode.start_ns) / 1e9) if self._episode else 0.0

    def _needed_bytes(self, target: int, live_bytes_per_s: float) -> int:
        return self.space.needed_bytes(max(target - self.episodes_done, 0), live_bytes_per_s)

    def _check_space(self, needed_bytes: int) -> None:
        free = self._folder.free_bytes
        if free < self._min_free_bytes + needed_bytes:
            episodes = f" and {needed_bytes / 1e9:.2f} GB for the missing episodes" if needed_bytes else ""
            raise DataError(
                f"{free / 1e9:.2f} GB free in {self._folder.root}, at least {self._min_free_bytes / 1e9:.2f} GB{episodes} needed",
                "make room, record fewer episodes, or lower min_free_bytes",
            )

    def _metadata(self, episode: _Episode, score: float, note: str, termination: str) -> EpisodeMetadata:
        return replace(episode.about, score=score, note=note, termination=termination, warnings=tuple(episode.warnings))

    def _length_s(self, episode: _Episode, now_ns: int | None) -> float:
        last_ns = max((tally.last_ns for tally in episode.writer.tallies.values()), default=0)
        return max(((now_ns or last_ns) - episode.start_ns) / 1e9, 0.0)

    def _running(self) -> _Episode:
        if self._episode is None:
            raise DataError(
                f"no episode is being recorded{': ' + self.reason if self.reason else ''}", "start one first"
            )
        return self._episode

    def _fail(self, error: OSError) -> None:
        episode, self._episode = self._episode, None
        self.state, self.reason = "ERROR", f"write error: {error}"
        if episode is not None:
            left = episode.writer.abandon()
            self.reason += f"; what was written is salvaged from {left} when the recorder starts again"
