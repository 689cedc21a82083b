"""A chunk of actions as it arrives, and every reason to refuse it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, fingerprint
from hpt_ros.errors import HptRosError

POLICY = "policy"
TELEOP = "teleop:"
_SENSELESS = 1e3
_PERIOD_TOLERANCE_NS = 1000  # seconds in a float64 and back


class ChunkRejected(HptRosError):
    """A chunk that is refused whole; `kind` is one word to count by."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@dataclass(frozen=True)
class Chunk:
    """Row i is due at `observation_ns + (i + 1) * period_ns`.

    `rows` (H, P) float64 in the order of `names`: joint targets [rad], or poses of the tool (`ee_pose`), then the gripper
    width [m]. `source`: "policy" or "teleop:<device>".
    """

    observation_ns: int
    period_ns: int
    names: tuple[str, ...]
    rows: NDArray[np.float64]
    fingerprint: str
    source: str

    @property
    def by_human(self) -> bool:
        """Whether a person's device made it."""
        return self.source.startswith(TELEOP)

    @property
    def due_ns(self) -> NDArray[np.int64]:
        """Due time of every row (H,)."""
        return self.observation_ns + self.period_ns * np.arange(1, len(self.rows) + 1, dtype=np.int64)


def expected_names(embodiment: Embodiment, source: str) -> tuple[str, ...]:
    """What the columns of a source's chunks are: a policy's follow from its kind of action, a person's device commands joints."""
    return embodiment.command_names if source.startswith(TELEOP) else embodiment.chunk_names


class ChunkGate:
    """Checks chunks against one embodiment; the arm only ever sees what passes."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._fingerprint = fingerprint(embodiment)
        self._horizon = embodiment.policy.action_horizon
        self._period_ns = embodiment.policy.period_ns
        self._timeout_ms = embodiment.safety.policy_timeout_s * 1e3

    def check(self, chunk: Chunk, engaged_ns: int, now_ns: int) -> None:
        """Let the chunk pass. A person's device may send fewer rows than the policy's horizon, down to one.

        Args:
            engaged_ns: when the arm was engaged; an older observation belongs to before a reset.

        Raises:
            ChunkRejected: with the reason.
        """
        self._check_contract(chunk)
        age_ms = (now_ns - chunk.observation_ns) / 1e6
        if chunk.observation_ns < engaged_ns:
            raise ChunkRejected("before_engage", "the observation is from before the arm was engaged")
        if age_ms < 0:
            raise ChunkRejected("future", f"the observation is {-age_ms:.1f} ms in the future: compare the clocks")
        if age_ms > self._timeout_ms:
            raise ChunkRejected("old", f"the observation is {age_ms:.0f} ms old, allowed: {self._timeout_ms:.0f} ms")

    def _check_contract(self, chunk: Chunk) -> None:
        if chunk.source != POLICY and not chunk.by_human:
            raise ChunkRejected("source", f"{chunk.source!r}, expected '{POLICY}' or '{TELEOP}<device>'")
        names = expected_names(self._embodiment, chunk.source)
        if chunk.names != names:
            raise ChunkRejected("names", f"{list(chunk.names)}, expected {list(names)}")
        if chunk.fingerprint != self._fingerprint:
            raise ChunkRejected("fingerprint", f"{chunk.fingerprint!r}, this embodiment has {self._fingerprint!r}")
        rows, columns = chunk.rows.shape if chunk.rows.ndim == 2 else (0, 0)
        if columns != len(names) or not (rows == self._horizon or (chunk.by_human and 1 <= rows < self._horizon)):
            raise ChunkRejected("size", f"rows of shape {chunk.rows.shape}, expected {(self._horizon, len(names))}")
        if abs(chunk.period_ns - self._period_ns) > _PERIOD_TOLERANCE_NS:
            raise ChunkRejected("period", f"{chunk.period_ns} ns between rows, expected {self._period_ns} ns")
        if not np.isfinite(chunk.rows).all():
            raise ChunkRejected("not_finite", f"{int((~np.isfinite(chunk.rows)).sum())} values are not finite")
        if (farthest := float(np.abs(chunk.rows).max())) > _SENSELESS:  # squares and slopes of it could overflow
            raise ChunkRejected("range", f"a value of {farthest:.3g}, nothing here is above {_SENSELESS:g} rad or m")
