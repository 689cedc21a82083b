"""Where the package's own data (config/, launch/, msg/) lies, whatever the installation; and paths made durable."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpt_ros.errors import MissingDependencyError


def share_dir() -> Path:
    """The folder that holds config/ and launch/.

    Raises:
        MissingDependencyError: the package was installed without its data files.
    """
    source = Path(__file__).resolve().parents[1]
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p] + [Path(sys.prefix)]
    for candidate in [source, *(prefix / "share" / "hpt_ros" for prefix in prefixes)]:
        if (candidate / "config" / "embodiments").is_dir():
            return candidate
    raise MissingDependencyError(
        "the package's config folder was not found", "install hpt_ros again (make setup, colcon build or pip install .)"
    )


def config_dir(kind: str) -> Path:
    """config/<kind> of the installation, e.g. `embodiments` or `finetune`."""
    return share_dir() / "config" / kind


def sync(path: Path) -> None:
    """Force a file's content, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; when the block ends well it takes the place of `folder`, synced to the disk.

    An interruption leaves what was there before, or nothing.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as made:
        new = Path(made) / "new"
        new.mkdir()
        yield new
        for path in (*(p for p in new.rglob("*")), new):
            sync(path)
        _swap(new, folder, Path(made) / "old")
    sync(folder.parent)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Put `new` in the place of `target`; folders cannot be replaced in one step, so a failure puts the old one back."""
    if not target.exists():
        new.rename(target)
        return
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
