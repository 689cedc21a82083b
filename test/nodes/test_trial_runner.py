"""A trial does not begin while another policy could drive the arm."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from hpt_ros.errors import BusyError, StreamError
from hpt_ros.evaluation.order import PlannedTrial
from hpt_ros.nodes.trial_runner import Candidate, TrialRunner, TrialSetup


class FakeSession:
    """A graph with so many policies, of which the loaded one runs; it notes what it is asked for."""

    def __init__(self, policies: int, checkpoint: Path) -> None:
        self.node = SimpleNamespace(count_publishers=lambda topic: policies)
        self.latest = {"policy": SimpleNamespace(state="RUNNING", checkpoint=str(checkpoint), stale_ticks=0)}
        self.latest["commander"] = SimpleNamespace(rows_late=0)
        self.asked: list[str] = []

    def wait_for(self, what: str, condition: Any, timeout_s: float) -> None:
        if not condition():
            raise StreamError(f"no {what}")

    def engage(self) -> None:
        self.asked.append("engage")


def trial(tmp_path: Path, policies: int) -> tuple[TrialRunner, FakeSession, PlannedTrial]:
    session, planned = FakeSession(policies, tmp_path), PlannedTrial(index=0, block=0, candidate=0)
    setup = TrialSetup("reach", "", "ada", 0, 10.0, tmp_path, records=False)
    switch: Any = SimpleNamespace(to=lambda checkpoint: None)
    runner = TrialRunner(session, switch, [Candidate(tmp_path, "0")], setup, None)  # type: ignore[arg-type]
    runner._loaded = Candidate(tmp_path, "0")
    return runner, session, planned


def test_a_policy_that_comes_later_is_seen_before_the_arm_moves(tmp_path: Path) -> None:
    runner, session, planned = trial(tmp_path, policies=2)
    with pytest.raises(StreamError, match="the end of other policies"):
        runner.wait_for_policy()
    with pytest.raises(BusyError, match="another process runs already"):
        runner.start(planned)
    assert session.asked == []


def test_the_own_policy_alone_may_begin(tmp_path: Path) -> None:
    runner, session, planned = trial(tmp_path, policies=1)
    runner.wait_for_policy()
    runner.start(planned)
    assert session.asked == ["engage"]
