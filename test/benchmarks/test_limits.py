"""The benchmark of the limits: a sample of it holds, and it would tell if something did not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpt_ros.benchmarks import limits
from hpt_ros.benchmarks.limits import Trial, robots
from hpt_ros.benchmarks.limits_check import MotionCheck
from hpt_ros.control.guard import Guard
from hpt_ros.control.limiter import Limiter
from hpt_ros.embodiment import load_embodiment
from hpt_ros.embodiment.schema import Safety
from hpt_ros.errors import ConfigError

PANDA = load_embodiment("sim_panda")
HOME = np.array(PANDA.home_rad)
TICK_S = 1 / PANDA.command.rate_hz


def test_a_sample_keeps_every_limit_and_meets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPT_ROS_CHUNKS", "720")
    report = limits.run(True, lambda _: None)
    assert [goal.what for goal in report.goals if not goal.reached] == []
    assert sum(row["taken"] for row in report.rows) > 150
    assert all(0.5 < row["velocity"] < 1.001 for row in report.rows)
    text = " ".join(report.notes)
    for met in ("workspace", "table", "self-collision", "joint position", "joint velocity", "joint acceleration"):
        assert f"'{met}'" in text
    for refused in (
        "not_finite",
        "size",
        "names",
        "period",
        "fingerprint",
        "source",
        "future",
        "before_engage",
        "range",
    ):
        assert f"'{refused}'" in text


@pytest.mark.parametrize("chunks", ["none", "-4", "1"])
def test_a_number_of_chunks_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, chunks: str) -> None:
    monkeypatch.setenv("HPT_ROS_CHUNKS", chunks)
    with pytest.raises(ConfigError, match="HPT_ROS_CHUNKS"):
        limits.run(True, lambda _: None)


def test_a_guard_that_looks_away_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "judge", lambda self, q, *_: ("",) * len(q))
    assert shot_at("panda", "into the table").check.passed["workspace"] > 0
    assert shot_at("panda, fastest", "into itself").check.passed["self-collision"] > 0


def test_a_limiter_that_takes_more_than_its_share_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Limiter.__init__

    def greedy(self: Limiter, safety: Safety, names: tuple[str, ...], period_s: float) -> None:
        honest(self, replace(safety, velocity_fraction=0.45, acceleration_fraction=0.45), names, period_s)

    monkeypatch.setattr(Limiter, "__init__", greedy)
    found = shot_at("panda", "quick").check.passed
    assert found["velocity"] > 0
    assert found["acceleration"] > 0


def shot_at(robot: str, aim: str) -> Trial:
    trial = Trial(robots()[robot], 0)
    for _ in range(2):
        trial.script(60, aim)
    return trial


def motion(path: np.ndarray, velocity: np.ndarray | None = None) -> dict[str, int]:
    check = MotionCheck(PANDA)
    dq = np.zeros_like(path) if velocity is None else velocity
    check.motion(path, dq, path[0])
    return {kind: count for kind, count in check.passed.items() if count}


def test_a_motion_at_rest_passes_nothing() -> None:
    assert motion(np.tile(HOME, (10, 1))) == {}


@pytest.mark.parametrize(
    ("kind", "joint", "way"),
    [("velocity", 0, 0.3), ("position", 6, 2.2), ("workspace", 0, 2.0), ("table", 1, 1.4), ("self-collision", 1, 2.0)],
)
def test_each_limit_that_is_passed_is_named(kind: str, joint: int, way: float) -> None:
    path = np.tile(HOME, (10, 1))
    path[5:, joint] += way
    assert kind in motion(path)


def test_velocities_that_jump_are_an_acceleration_and_a_jerk() -> None:
    velocity = np.zeros((10, 7))
    velocity[5:, 2] = 0.5
    found = motion(np.tile(HOME, (10, 1)), velocity)
    assert found.keys() == {"acceleration", "jerk"}


def test_a_jump_at_the_start_and_numbers_that_are_none_are_named() -> None:
    check = MotionCheck(replace(PANDA))
    check.motion(np.tile(HOME, (3, 1)), np.zeros((3, 7)), HOME + 0.01)
    check.motion(np.full((3, 7), np.nan), np.zeros((3, 7)), HOME)
    assert (check.passed["start"], check.passed["finite"]) == (1, 1)
