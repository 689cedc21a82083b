"""Checks of single values and messages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.view import EpisodeView


def bad_values(view: EpisodeView, _: AuditConfig) -> Iterator[Finding]:
    """bad_values: rows with NaN or infinity, and messages that could not be used at all."""
    for refusal in view.refused:
        many = f" ({refusal.count} messages)" if refusal.count > 1 else ""
        yield Finding(
            "bad_values", view.name, refusal.stream, refusal.reason + many, "values that can be used", refusal.count
        )
    for key, series in (("joints", view.joints), ("gripper", view.gripper), ("command", view.command)):
        if series is None:
            continue
        bad = ~np.isfinite(series.values).all(axis=1)
        if bad.any():
            first_s = float(series.time_s[int(bad.argmax())])
            seen = f"not finite in {int(bad.sum())} rows, first at {first_s:.2f} s"
            yield Finding("bad_values", view.name, key, seen, "finite values", float(bad.sum()))
