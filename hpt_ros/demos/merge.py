"""Finished episodes -> the arrays of a set, one after the other, while others are still being converted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpt_ros.demos.align import COMMAND_KEY
from hpt_ros.demos.part import AGES, FACTS
from hpt_ros.demos.store import RowsWriter
from hpt_ros.demos.sync import sync_report
from hpt_ros.embodiment import Embodiment, StreamSpec


class Merge:
    """The set in the making in `folder`; episodes come in their final order.

    `episodes`: what the index says of them; `remarks`: what is unusual about each; `images`: of the cameras, after `finish`.
    """

    def __init__(self, folder: Path, embodiment: Embodiment, specs: Sequence[StreamSpec]) -> None:
        interventions = any(spec.key == COMMAND_KEY for spec in specs)
        self.episodes: list[dict[str, Any]] = []
        self.remarks: list[list[str]] = []
        self.images: dict[str, dict[str, str]] = {}
        self._folder = folder
        self._specs = specs
        self._writer = RowsWriter(folder, embodiment, received=True, interventions=interventions)
        self._ages: list[Any] = []
        self._sync: list[dict[str, dict[str, int]]] = []

    def add(self, part: Path) -> None:
        """Append the episode in the folder `part`; the disk begins to write it."""
        fact = json.loads((part / FACTS).read_text())
        rows, start = slice(fact["start"], fact["stop"]), self._writer.rows
        self._writer.extend(part, rows.start, rows.stop)
        self._writer.start_sync()
        self.episodes.append({"start": start, "stop": self._writer.rows} | fact["facts"])
        self.remarks.append(fact["remarks"])
        self._ages.append(np.load(part / AGES)[rows])
        self._sync.append(fact["sync"])

    def finish(self) -> None:
        """Complete the files and wait until they are on the disk."""
        self._writer.sync()
        self.images = self._writer.images()

    def sync_report(self) -> dict[str, dict[str, Any]]:
        """How well the streams of all episodes fit the declared rates and ages."""
        return sync_report(self._specs, np.concatenate(self._ages), self._sync)

    def discard(self) -> None:
        """Close and delete what was written."""
        self._writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)
