"""One cache on disk: features in blocks of rows, each with a checksum, so that it can be completed and repaired.

facts.json        what the features depend on
features.npy      float16 or float32 (N, M, P, D): rows, views in the order of the embodiment, tokens, width
blocks.jsonl      {"block": i, "crc": checksum} for every block that has been computed
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hpt_ros.paths import sync

FACTS, VALUES, BLOCKS = "facts.json", "features.npy", "blocks.jsonl"
ROWS = 64  # of a block


@dataclass(frozen=True)
class Layout:
    """Shape (N, M, P, D) and dtype of a cache."""

    shape: tuple[int, int, int, int]
    dtype: str

    @property
    def bytes(self) -> int:
        """Room on the disk."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def blocks(self) -> int:
        """Blocks of `ROWS` rows, the last may be shorter."""
        return -(-self.shape[0] // ROWS)

    def rows(self, block: int) -> slice:
        """Rows of a block."""
        return slice(block * ROWS, min((block + 1) * ROWS, self.shape[0]))


class FeatureStore:
    """The folder of one cache, locked while the `with` block lasts: a second run waits, and then finds it complete.

    What is in the folder counts only where facts, layout and checksum agree; everything else is computed again.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], layout: Layout) -> None:
        self.folder, self.layout = folder, layout
        self._facts = json.loads(json.dumps({**facts, "shape": list(layout.shape), "dtype": layout.dtype}))

    def __enter__(self) -> FeatureStore:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not self._is_ours():
            self._create()
        self._values = np.lib.format.open_memmap(self.folder / VALUES, mode="r+")
        self._done = self._valid_blocks()
        self._log = (self.folder / BLOCKS).open("a")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._values.flush()
        del self._values
        self._log.close()
        if error is None:
            for name in (VALUES, BLOCKS):
                sync(self.folder / name)
        os.close(self._lock)

    @property
    def missing(self) -> list[int]:
        """Blocks that must be computed."""
        return [block for block in range(self.layout.blocks) if block not in self._done]

    def write(self, block: int, values: NDArray[Any]) -> None:
        """Keep the rows of a block."""
        rows = self.layout.rows(block)
        self._values[rows] = values
        self._log.write(json.dumps({"block": block, "crc": _crc(self._values[rows])}) + "\n")
        self._log.flush()
        self._done.add(block)

    def _is_ours(self) -> bool:
        try:
            facts = json.loads((self.folder / FACTS).read_text())
            with (self.folder / VALUES).open("rb") as file:
                npy_format.read_magic(file)
                shape, _, dtype = npy_format.read_array_header_1_0(file)
                size = file.tell() + self.layout.bytes
        except (OSError, ValueError):
            return False
        whole = (self.folder / VALUES).stat().st_size == size
        return facts == self._facts and shape == self.layout.shape and dtype == np.dtype(self.layout.dtype) and whole

    def _create(self) -> None:
        for name in (FACTS, BLOCKS, VALUES):
            (self.folder / name).unlink(missing_ok=True)
        np.lib.format.open_memmap(self.folder / VALUES, "w+", self.layout.dtype, self.layout.shape)
        (self.folder / FACTS).write_text(json.dumps(self._facts, indent=1) + "\n")

    def _valid_blocks(self) -> set[int]:
        crcs: dict[int, int] = {}
        path = self.folder / BLOCKS
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                entry = json.loads(line)
                crcs[int(entry["block"])] = int(entry["crc"])
            except (ValueError, KeyError, TypeError):  # cut short by the interruption
                continue
        path.write_text("".join(json.dumps({"block": b, "crc": crc}) + "\n" for b, crc in crcs.items()))
        known = [block for block in crcs if block < self.layout.blocks]
        return {b for b in known if _crc(self._values[self.layout.rows(b)]) == crcs[b]}


def _crc(values: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).data)
