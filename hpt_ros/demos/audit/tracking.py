"""Checks of commanded against measured angles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.measures import following
from hpt_ros.demos.audit.view import EpisodeView


def tracking(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """command_offset per joint; arm_lags and arm_leads by the median lag over the joints."""
    found = following(view, config)
    for joint in np.flatnonzero(np.abs(found.offset_rad) > config.offset_rad).tolist():
        offset = float(found.offset_rad[joint])
        name = view.embodiment.joints.names[joint]
        expected, excess = f"within {config.offset_rad:g} rad", abs(offset) / config.offset_rad
        yield Finding(
            "command_offset", view.name, name, f"command - measured = {offset:+.3f} rad (median)", expected, excess
        )
    lag_s = found.arm_lag_s
    seen = f"the arm follows after {lag_s * 1e3:.0f} ms"
    if lag_s > config.lag_s:
        yield Finding("arm_lags", view.name, "", seen, f"<= {config.lag_s * 1e3:.0f} ms", lag_s / config.lag_s)
    elif lag_s < -config.lead_s:
        yield Finding("arm_leads", view.name, "", seen, f">= {-config.lead_s * 1e3:.0f} ms", -lag_s / config.lead_s)
