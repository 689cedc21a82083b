"""Every reason to refuse a chunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpt_ros.control.chunk import Chunk, ChunkGate, ChunkRejected
from hpt_ros.embodiment import fingerprint, load_embodiment

SIM = load_embodiment("sim_panda")
NOW = 10_000_000_000
MS = 1_000_000
GOOD = Chunk(
    NOW - 50 * MS,
    SIM.policy.period_ns,
    SIM.action_names,
    np.tile([*SIM.home_rad, 0.08], (SIM.policy.action_horizon, 1)),
    fingerprint(SIM),
    "policy",
)


def with_value(value: float) -> np.ndarray:
    rows = GOOD.rows.copy()
    rows[3, 2] = value
    return rows


def test_a_good_chunk_passes() -> None:
    ChunkGate(SIM).check(GOOD, NOW - 60 * MS, NOW)


def test_a_device_may_send_fewer_rows() -> None:
    ChunkGate(SIM).check(replace(GOOD, rows=GOOD.rows[:1], source="teleop:pad"), 0, NOW)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"rows": with_value(np.nan)}, "not_finite"),
        ({"rows": with_value(-np.inf)}, "not_finite"),
        ({"rows": with_value(1e200)}, "range"),
        ({"names": SIM.action_names[::-1]}, "names"),
        ({"names": SIM.action_names[:-1]}, "names"),
        ({"rows": GOOD.rows[:-1]}, "size"),
        ({"rows": GOOD.rows[:, :-1]}, "size"),
        ({"rows": GOOD.rows[0]}, "size"),
        ({"rows": GOOD.rows[:0], "source": "teleop:pad"}, "size"),
        ({"rows": np.vstack([GOOD.rows, GOOD.rows]), "source": "teleop:pad"}, "size"),
        ({"period_ns": 0}, "period"),
        ({"period_ns": -SIM.policy.period_ns}, "period"),
        ({"period_ns": 2 * SIM.policy.period_ns}, "period"),
        ({"fingerprint": "0123456789abcdef"}, "fingerprint"),
        ({"source": "somebody"}, "source"),
        ({"observation_ns": NOW - 100 * MS}, "before_engage"),
        ({"observation_ns": NOW + MS}, "future"),
    ],
)
def test_reasons(changes: dict, kind: str) -> None:
    with pytest.raises(ChunkRejected) as refusal:
        ChunkGate(SIM).check(replace(GOOD, **changes), NOW - 60 * MS, NOW)
    assert refusal.value.kind == kind


def test_an_old_observation_is_refused() -> None:
    with pytest.raises(ChunkRejected, match="400 ms old, allowed: 300 ms"):
        ChunkGate(SIM).check(replace(GOOD, observation_ns=NOW - 400 * MS), 0, NOW)
