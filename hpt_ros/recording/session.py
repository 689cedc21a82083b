"""Start, stop and discard: what a recorder does, without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from rosbags.interfaces import Qos

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import BusyError, DataError
from hpt_ros.recording.episode import EpisodeWriter
from hpt_ros.recording.folder import BagsFolder
from hpt_ros.recording.metadata import EpisodeMetadata

SCORES = (0.0, 0.5, 1.0)
State = Literal["IDLE", "RECORDING", "ERROR"]


@dataclass(frozen=True)
class OfferedTopic:
    """A topic that has publishers: its type and the quality of service that each of them offers."""

    msgtype: str
    offered_qos: tuple[Qos, ...] = ()


@dataclass(frozen=True)
class _Episode:
    writer: EpisodeWriter
    task: str
    instruction: str
    operator: str
    start_ns: int


class RecordingSession:
    """The episodes that one recorder makes, one after the other.

    `state` is ERROR after a write error, until the next start; `reason` says why.
    """

    def __init__(self, folder: BagsFolder, embodiment: Embodiment, min_free_bytes: int) -> None:
        self._folder = folder
        self._embodiment = embodiment
        self._min_free_bytes = min_free_bytes
        self._episode: _Episode | None = None
        self.state: State = "IDLE"
        self.reason = ""
        self._committed: Path | None = None
        self.episodes_done = 0

    def start(
        self, task: str, instruction: str, operator: str, topics: Mapping[str, OfferedTopic], now_ns: int
    ) -> Path:
        """Begin an episode; returns the path that it will have.

        Raises:
            BusyError: an episode is running.
            DataError: too little space, a task that is no folder name, or a disk that refuses.
        """
        if self._episode is not None:
            raise BusyError(f"{self._episode.writer.path} is being recorded", "stop or discard it first")
        free = self._folder.free_bytes
        if free < self._min_free_bytes:
            raise DataError(
                f"{free / 1e9:.2f} GB free in {self._folder.root}, at least {self._min_free_bytes / 1e9:.2f} GB needed",
                "make room, or lower min_free_bytes",
            )
        try:
            writer = self._folder.new_episode(task, datetime.fromtimestamp(now_ns / 1e9))
        except OSError as error:
            raise DataError(f"cannot record to {self._folder.root}: {error}", "check the disk and bags_dir") from error
        for name, topic in topics.items():
            writer.add_topic(name, topic.msgtype, topic.offered_qos)
        self._episode = _Episode(writer, task, instruction, operator, now_ns)
        self.state, self.reason = "RECORDING", ""
        return writer.path

    def has_topic(self, name: str) -> bool:
        """Whether the running episode knows the topic."""
        return self._episode is not None and self._episode.writer.has_topic(name)

    def add_topic(self, name: str, topic: OfferedTopic) -> None:
        """Announce a topic that came up during the episode."""
        if self._episode is not None:
            self._episode.writer.add_topic(name, topic.msgtype, topic.offered_qos)

    def write(self, name: str, receive_ns: int, raw: bytes) -> None:
        """Append a message to the running episode; a write error ends it and sets ERROR."""
        if self._episode is None:
            return
        try:
            self._episode.writer.write(name, receive_ns, raw)
        except OSError as error:
            self._fail(error)

    def stop(self, score: float, note: str, termination: str) -> Path:
        """Complete the episode; when this returns it is on disk under its name.

        Raises:
            DataError: no episode is running, the score is not 0, 0.5 or 1, or the disk refuses.
        """
        episode = self._running()
        if score not in SCORES:
            raise DataError(
                f"score {score:g}: expected 0, 0.5 or 1", "stop again with one of these; the episode runs on"
            )
        metadata = EpisodeMetadata(
            embodiment=self._embodiment,
            task=episode.task,
            instruction=episode.instruction,
            operator=episode.operator,
            score=score,
            termination=termination,
            note=note,
        )
        try:
            self._committed = episode.writer.commit(metadata)
        except OSError as error:
            self._fail(error)
            raise DataError(self.reason, "check the disk") from error
        self._episode = None
        self.state, self.reason = "IDLE", ""
        self.episodes_done += 1
        return self._committed

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

    def close(self) -> Path | None:
        """End the session; an episode that was not stopped goes to quarantine. Returns where it lies."""
        episode, self._episode = self._episode, None
        return episode.writer.quarantine() if episode else None

    @property
    def path(self) -> Path | None:
        """Of the running episode, else of the last complete one."""
        return self._episode.writer.path if self._episode else self._committed

    @property
    def counts(self) -> dict[str, int]:
        """Messages of the running episode, by topic."""
        return self._episode.writer.counts if self._episode else {}

    def duration_s(self, now_ns: int) -> float:
        """Length of the running episode."""
        return max(0.0, (now_ns - self._episode.start_ns) / 1e9) if self._episode else 0.0

    def _running(self) -> _Episode:
        if self._episode is None:
            raise DataError(
                f"no episode is being recorded{': ' + self.reason if self.reason else ''}", "start one first"
            )
        return self._episode

    def _fail(self, error: OSError) -> None:
        episode, self._episode = self._episode, None
        self.state, self.reason = "ERROR", f"write error: {error}"
        if episode is None:
            return
        try:
            self.reason += f"; what was written lies in {episode.writer.quarantine()}"
        except OSError as second:
            self.reason += f"; what was written stays as a partial ({second})"
