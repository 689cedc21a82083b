"""A demonstration set in the making: `.NAME.partial` beside its place, which only one run at a time may hold.

episodes/<bag>/   one finished or half-written episode each, see `part`
set/              the merged set, renamed to its place when it is complete
old/              the set that it replaces, for the moment between the two renames
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path
from types import TracebackType

from hpt_ros.demos.part import is_complete
from hpt_ros.errors import BusyError
from hpt_ros.paths import sync

_LOCK_PATIENCE_S = 3.0  # the workers of a killed run notice within moments that they are alone


class PartialSet:
    """Holds the folder while it is entered; what is finished stays for the next run unless `commit` was reached.

    Raises:
        BusyError: `out` exists and `overwrite` is not set, or another run holds the folder.
    """

    def __init__(self, out: Path, overwrite: bool) -> None:
        self._out = out
        self.folder = out.parent / f".{out.name}.partial"
        self._old = self.folder / "old"
        if self._old.exists() and not out.exists():
            self._old.rename(out)  # killed between the renames
        if out.exists() and not overwrite:
            raise BusyError(f"{out} exists", "choose another name, or pass --overwrite")
        self.lock = self._lock()
        shutil.rmtree(self.set_folder, ignore_errors=True)

    @property
    def set_folder(self) -> Path:
        """Where the merged set is written."""
        return self.folder / "set"

    def episode_folder(self, bag: Path) -> Path:
        """Where a bag's episode is written; bags of one name from different places do not meet."""
        place = hashlib.sha256(str(bag.resolve()).encode()).hexdigest()[:8]
        return self.folder / "episodes" / f"{bag.name}-{place}"

    def commit(self) -> None:
        """Put the merged set in its place; an older set goes away only then."""
        sync(self.set_folder)
        if self._out.exists():
            shutil.rmtree(self._old, ignore_errors=True)
            self._out.rename(self._old)
        self.set_folder.rename(self._out)
        sync(self._out.parent)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> PartialSet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        finished = any(is_complete(folder) for folder in self.folder.glob("episodes/*"))
        if not finished:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)

    def _lock(self) -> int:
        """A descriptor of the folder that holds its lock; the kernel gives it back when the last process of the run ends."""
        deadline_s = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is(handle):
                    return handle
            except OSError as error:
                if time.monotonic() > deadline_s:
                    os.close(handle)
                    raise BusyError(
                        f"another run writes to {self.folder}", "wait for it, or choose another --out"
                    ) from error
            os.close(handle)
            time.sleep(0.05)

    def _is(self, handle: int) -> bool:
        """Whether the folder of that name is still the one that was locked: the run before may have removed it."""
        try:
            return os.path.samestat(os.fstat(handle), self.folder.stat())
        except FileNotFoundError:
            return False
