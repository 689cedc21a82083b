"""The physics thread: true stamps, controllers in front of the servos, clean resets."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from hpt_ros.control.trajectory import TrajectoryRejected
from hpt_ros.errors import ConfigError
from hpt_ros.sim.driver import CommandError, Driver
from hpt_ros.sim.world import World

NAMES = [f"panda_joint{i}" for i in range(1, 8)]


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver(World("reach", 0), NAMES, time.time_ns)
    yield made
    made.stop()


def wait_until(condition, timeout_s: float = 10.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)


def test_stamps_are_ros_time_in_steps_of_the_period(driver: Driver) -> None:
    stamps: list[tuple[int, int]] = []
    driver.every(1_000_000, lambda stamp_ns: stamps.append((stamp_ns, time.time_ns())))
    driver.start()
    wait_until(lambda: len(stamps) > 300)
    driver.stop()
    made, arrived = np.transpose(stamps)
    assert set(np.diff(made)) == {1_000_000}
    assert np.all(made <= arrived + 1_000_000)  # a state is not published before its time


def test_other_speeds_stamp_simulated_time() -> None:
    driver = Driver(World(), NAMES, time.time_ns, speed=4.0)
    stamps: list[int] = []
    driver.every(10_000_000, stamps.append)
    began = time.monotonic()
    driver.start()
    wait_until(lambda: len(stamps) >= 100)
    driver.stop()
    assert stamps[:3] == [10_000_000, 20_000_000, 30_000_000]
    assert time.monotonic() - began > 0.24  # 1 s of simulation at four times real time


def test_trajectory_is_followed_and_its_end_held(driver: Driver) -> None:
    driver.start()
    target = driver.world.q + 0.05
    driver.follow(NAMES, [(0.2, target, np.zeros(7), None)], 0)
    wait_until(lambda: np.allclose(driver.world.q, target, atol=2e-3))
    time.sleep(0.1)
    np.testing.assert_allclose(driver.world.q, target, atol=2e-3)


def test_streamed_target_and_gripper(driver: Driver) -> None:
    driver.start()
    target = driver.world.q + 0.02
    driver.hold(target)
    driver.set_gripper([0.05])
    wait_until(lambda: np.allclose(driver.world.q, target, atol=2e-3) and abs(driver.world.state[7] - 0.05) < 2e-3)


def test_bad_commands_are_refused_and_change_nothing(driver: Driver) -> None:
    with pytest.raises(CommandError):
        driver.hold([0.0] * 6)
    with pytest.raises(CommandError):
        driver.hold([np.nan] * 7)
    with pytest.raises(CommandError):
        driver.set_gripper([])
    with pytest.raises(CommandError):
        driver.set_gripper([np.inf])
    with pytest.raises(TrajectoryRejected):
        driver.follow(NAMES[:6], [(0.1, np.zeros(6), None, None)], 0)
    with pytest.raises(ConfigError):
        driver.reset("juggle", 0)
    assert driver.world.episode == 1


def test_after_a_reset_the_old_trajectory_is_forgotten(driver: Driver) -> None:
    seen: list[tuple[int, float]] = []
    driver.every(1_000_000, lambda _: seen.append((driver.world.episode, float(np.abs(driver.world.q - start).max()))))
    start = World("reach", 9).q
    driver.start()
    driver.follow(NAMES, [(0.5, start + 0.5, np.zeros(7), None)], 0)
    time.sleep(0.2)
    assert driver.reset("", 9) == 2
    time.sleep(0.3)
    driver.stop()
    after = [offset for episode, offset in seen if episode == 2]
    assert len(after) > 50
    assert max(after) < 1e-3  # from the first state of the new episode on
    assert max(offset for episode, offset in seen if episode == 1) > 0.05


def test_the_cause_of_death_of_the_thread_is_kept(driver: Driver) -> None:
    def publish(_: int) -> None:
        raise OSError("the middleware is gone")

    driver.every(1_000_000, publish)
    driver.start()
    wait_until(lambda: driver.failure is not None)
    assert isinstance(driver.failure, OSError)


def test_real_time_factor(driver: Driver) -> None:
    driver.start()
    time.sleep(0.5)
    assert 0.5 < driver.real_time_factor < 1.5
