"""What a check of `hpt-ros doctor` says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One check: what was seen, whether that is enough, and what to do if not."""

    name: str
    ok: bool
    seen: str
    remedy: str = ""
