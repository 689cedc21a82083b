"""What a policy node serves: a checkpoint of this package, or, for comparisons, whatever acts on the same observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.commitment import Committed
from hpt_ros.embodiment import Embodiment
from hpt_ros.model import PolicyRunner, load_checkpoint
from hpt_ros.model.provenance import trunk_line
from hpt_ros.model.runner import ObservationLike


class Acting(Protocol):
    """One observation in, one chunk (rows, P) out, as `PolicyRunner.act`."""

    def act(self, observation: ObservationLike, committed: Committed | None = None) -> NDArray[np.float32]: ...


class PolicySource(Protocol):
    """Made from a folder; `origin` is a line for the log. `acting` may take long, and is called again after a cleanup."""

    @property
    def embodiment(self) -> Embodiment: ...
    @property
    def origin(self) -> str: ...
    def acting(self, **options: Any) -> Acting: ...


class CheckpointSource:
    """A checkpoint of this package, acted by `runner`.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """

    runner = PolicyRunner

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        checkpoint = load_checkpoint(folder)
        self.embodiment, self.origin = checkpoint.embodiment, trunk_line(checkpoint.provenance)
        self._loaded = [checkpoint]

    def acting(self, **options: Any) -> PolicyRunner:
        """The network; read again for a second one."""
        checkpoint = self._loaded.pop() if self._loaded else load_checkpoint(self._folder)
        return self.runner(checkpoint, **options)
