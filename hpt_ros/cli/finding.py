"""What a check of `hpt-ros doctor` says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One check: what was seen, whether that is enough, and what to do if not.

    An `optional` one that is not enough is shown with its remedy, and is no reason to fail.
    """

    name: str
    ok: bool
    seen: str
    remedy: str = ""
    optional: bool = False

    @property
    def fails(self) -> bool:
        """Whether something is wrong."""
        return not (self.ok or self.optional)
