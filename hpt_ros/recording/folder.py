"""The folder of all bags: who may write there, what a crash left, names for new episodes, the trash."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from datetime import datetime
from pathlib import Path

from hpt_ros.errors import BusyError, DataError
from hpt_ros.paths import sync
from hpt_ros.recording.episode import QUARANTINE, EpisodeWriter
from hpt_ros.recording.metadata import EpisodeMetadata
from hpt_ros.recording.salvage import Salvage, salvage_all

TRASH = ".trash"
_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_EPISODE = re.compile(r"\.?\d{8}_\d{6}_(\d+)(\.partial)?")


class BagsFolder:
    """`root/<task>/<YYYYmmdd_HHMMSS>_<n>/`, n counting up per task; held by one recorder at a time.

    The lock is on the folder itself: the kernel gives it back when the process ends, however it ends.

    Raises:
        BusyError: another recorder writes there.
        DataError: the folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise DataError(f"cannot record to {self.root}: {error.strerror}", "choose another bags_dir") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise BusyError(f"another recorder writes to {self.root}", "stop it, or choose another bags_dir") from error

    def salvage_leftovers(self) -> list[Salvage]:
        """Make readable what an interrupted recorder left, in `<task>/.quarantine/`."""
        return list(salvage_all(self.root))

    def new_episode(self, about: EpisodeMetadata, now: datetime, compress: bool = False) -> EpisodeWriter:
        """Begin the next episode of `about.task`; a number is never used twice, not even after undo.

        Raises:
            DataError: the task cannot be the name of a folder.
            OSError: the disk refuses.
        """
        if not _TASK.fullmatch(about.task):
            raise DataError(f"task {about.task!r} cannot be the name of a folder", "use letters, digits, '_' and '-'")
        folder = self.root / about.task
        taken = [*folder.glob("*"), *folder.glob(f"{QUARANTINE}/*"), *folder.glob(f"{TRASH}/*")]
        numbers = [int(match[1]) for path in taken if (match := _EPISODE.fullmatch(path.name))]
        return EpisodeWriter(folder, f"{now:%Y%m%d_%H%M%S}_{max(numbers, default=0) + 1}", about, compress)

    @property
    def free_bytes(self) -> int:
        """Space left for this user on the disk."""
        return shutil.disk_usage(self.root).free

    def close(self) -> None:
        """Let another recorder in."""
        os.close(self._lock)


def to_trash(bag: Path) -> Path:
    """Move a committed bag to `<task>/.trash/`, durably; returns where it lies then.

    Raises:
        OSError: the disk refuses, or the bag is gone.
        FileExistsError: one of that name lies in the trash.
    """
    target = bag.parent / TRASH / bag.name
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        raise FileExistsError(f"{target} exists, not overwriting")
    bag.rename(target)
    for folder in (target.parent, bag.parent):
        sync(folder)
    return target
