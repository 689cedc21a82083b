"""What of a chunk that was published the next one cannot change."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.control.commitment import Commitment, weights
from hpt_ros.embodiment import load_embodiment

ROBOT = load_embodiment("sim_panda")  # 15 Hz, 16 rows; commands at 100 Hz, 30 ms ahead
PERIOD_NS = ROBOT.policy.period_ns
ROWS = np.arange(16 * 8, dtype=float).reshape(16, 8)


def commitment() -> Commitment:
    made = Commitment(ROBOT)
    made.publish(0, ROWS)
    made.on_commander("RUNNING", "policy", 20 * PERIOD_NS)
    return made


def test_rows_move_up_by_the_periods_that_have_passed() -> None:
    found = commitment().at(3 * PERIOD_NS + 2_000_000, latency_s=0.02)  # ticks are never quite on time
    assert found is not None
    assert found.rows[:13].tolist() == ROWS[3:].tolist()
    assert found.rows.shape == ROWS.shape
    assert not found.weight[13:].any(), "nobody has said anything about those times"


@pytest.mark.parametrize(("latency_s", "firm"), [(0.0, 0), (0.02, 1), (0.05, 1), (0.08, 2), (0.3, 5), (10.0, 15)])
def test_firm_is_what_the_schedule_passes_over_when_the_chunk_arrives(latency_s: float, firm: int) -> None:
    """Commanded already: arrival + 30 ms; and a row that is due within half a period of 67 ms after that."""
    found = commitment().at(PERIOD_NS, latency_s)
    assert found is not None
    assert int((found.weight == 1).sum()) == firm


def test_weights_fall_to_nothing() -> None:
    found = weights(16, firm=2, overlap=12)
    assert found[:2].tolist() == [1, 1]
    assert (np.diff(found[1:13]) < 0).all()
    assert found[12:].tolist() == [0] * 4
    assert weights(4, firm=9, overlap=3).tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(("state", "source"), [("HOLDING", ""), ("RUNNING", "teleop:joy"), ("ENGAGING", "policy")])
def test_an_arm_that_does_not_follow_owes_nothing(state: str, source: str) -> None:
    made = commitment()
    assert made.at(PERIOD_NS, 0.02) is not None
    made.on_commander(state, source, 0)
    assert made.at(PERIOD_NS, 0.02) is None


def test_a_commander_that_falls_silent_is_not_relied_on() -> None:
    made = commitment()
    made.on_commander("RUNNING", "policy", 0)
    assert made.at(PERIOD_NS, 0.02) is not None
    assert made.at(8 * PERIOD_NS, 0.02) is None


@pytest.mark.parametrize("periods", [16, 100, -1])
def test_nothing_is_committed_after_the_last_row_or_before_the_chunk(periods: int) -> None:
    assert commitment().at(periods * PERIOD_NS, 0.02) is None
    assert Commitment(ROBOT).at(0, 0.02) is None
