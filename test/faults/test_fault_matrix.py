"""The fault matrix, over real topics: {stream} x {fault}, the policy, the commander, the middleware.

From the last good sample to the decision to stop: the stream's budget and one tick of whoever watches it. docs/faults.md.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")
pytest.importorskip("mujoco", reason="needs the simulator (make setup installs it)")

from fault_stand import (
    ALLOWANCE_S,
    BUDGET_S,
    FROZEN_S,
    MS,
    ROBOT,
    TICK_NS,
    TIMEOUT_S,
    WAIT_S,
    Stand,
    stamp,
)

from hpt_ros.bringup.domain import DomainLock
from hpt_ros.bringup.environment import node_environment
from hpt_ros.bringup.shared_memory import remove_segments
from hpt_ros.nodes.session import Session

pytestmark = pytest.mark.live

STREAMS = [spec.key for spec in ROBOT.streams()]
ROBOT_STATE = pytest.param(
    "robot_state",
    marks=pytest.mark.skipif(ROBOT.robot_state is None, reason="needs franka_msgs (make setup builds it)"),
)
CAMERAS = [key for key in STREAMS if key.startswith("camera.")]
POLICY_TICK_S, COMMAND_TICK_S = ROBOT.policy.period_ns * 1e-9, TICK_NS * 1e-9
ONE_TICK_S = POLICY_TICK_S + 2 * COMMAND_TICK_S  # the policy's, then the commander's; half a tick is lost to its grid
WATCHED_BY_THE_COMMANDER = ("joints", "robot_state")  # itself: it must not need the policy for them


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder: Path = tmp_path_factory.mktemp("faults")
    before = {path.name for path in Path("/dev/shm").glob("fastdds_*")}
    with DomainLock.any_free() as lock, pytest.MonkeyPatch.context() as patch:
        env = node_environment(lock.domain_id, folder)
        for name, value in env.items():
            patch.setenv(name, value)
        found: list[Stand] = []
        with Session(lambda: [s.check() for s in found] and None, lock.domain_id) as session:
            stand = Stand(env, folder, session)
            found.append(stand)
            try:
                yield stand
            finally:
                stand.close()
        after = {path.name for path in Path("/dev/shm").glob("fastdds_*")}
        remove_segments(after - before, lock.domain_id)


# What a stream can do: fault, its seconds, and what the reason says beside the stream's name.
STOPPING = {
    "silent": (0.0, r"sample is \d+ ms old"),
    "frozen": (0.0, r"sample is \d+ ms old"),
    "slow": (1.5, r"sample is \d+ ms old"),
    "delayed": (1.0, r"sample is \d+ ms old"),
    "nan": (0.0, r"not finite|not a sensor_msgs|sample is \d+ ms old"),
    "ahead": (1.0, r"ms ahead of the clock"),
    "behind": (-1.0, r"sample is \d+ ms old"),
}
ROBOT_STATE_SAYS = {"nan": "nan% of the robot's commands arrive in time"}


@pytest.mark.parametrize("fault", STOPPING)
@pytest.mark.parametrize("stream", [*STREAMS, ROBOT_STATE])
def test_a_stream_that_fails_stops_the_arm_in_its_budget(
    stand: Stand, stream: str, fault: str, record_property: Any
) -> None:
    seconds, why = STOPPING[fault]
    why = (
        ROBOT_STATE_SAYS.get(fault, r"robot state: silent for \d+ ms")
        if stream == "robot_state"
        else rf"{stream}\b.*({why})"
    )
    name = "shifted" if fault in ("ahead", "behind") else fault
    stop = stand.stops(
        lambda: stand.fault(stream, name, seconds),
        lambda: stand.fault(stream, "none"),
        BUDGET_S + (2 * COMMAND_TICK_S if stream in WATCHED_BY_THE_COMMANDER else ONE_TICK_S),
        why,
    )
    record_property("from_the_last_good_sample_ms", round(stop.took_s * 1e3))  # pytest --junitxml=FILE


@pytest.mark.parametrize("stream", CAMERAS)
def test_new_stamps_on_a_frozen_picture_do_not_help(stand: Stand, stream: str) -> None:
    period_s = 1 / ROBOT.cameras[0].timing.rate_hz
    stand.stops(
        lambda: stand.fault(stream, "frozen_payload"),
        lambda: stand.fault(stream, "none"),
        FROZEN_S + period_s + ALLOWANCE_S + ONE_TICK_S,
        rf"{stream}: frozen: nothing has changed for",
    )


@pytest.mark.parametrize(
    ("fault", "seconds"), [("reordered", 0.0), ("delayed", ALLOWANCE_S / 2), ("slow", BUDGET_S / 4)]
)
@pytest.mark.parametrize("stream", [*STREAMS, ROBOT_STATE])
def test_what_the_allowance_and_the_budget_cover_does_not_stop_the_arm(
    stand: Stand, stream: str, fault: str, seconds: float
) -> None:
    labels = stand.goes_on(lambda: stand.fault(stream, fault, seconds), lambda: stand.fault(stream, "none"))
    assert len(labels) > 20
    assert {label.source for label in labels} == {"policy"}


def last_chunk_ns(stand: Stand) -> int:
    return stamp(stand.chunks[-1])


@pytest.mark.parametrize("fault", ["paused", "slow"])
def test_a_policy_that_hangs_is_a_stop(stand: Stand, fault: str) -> None:
    begin, end, why = {
        "paused": (signal.SIGSTOP, signal.SIGCONT, "allowed: 500 ms$"),
        "slow": (signal.SIGUSR1, signal.SIGUSR2, "allowed: 500 ms"),
    }[fault]

    def cause() -> int:
        stand.send("policy", begin)
        time.sleep(0.05)  # what was on its way
        return last_chunk_ns(stand)

    stop = stand.stops(
        cause, lambda: stand.send("policy", end), TIMEOUT_S + 2 * COMMAND_TICK_S, rf"policy: no good chunk .*{why}"
    )
    assert stop.state == "HOLDING"


def test_a_policy_that_dies_is_a_stop_and_another_may_take_its_place(stand: Stand) -> None:
    def cause() -> int:
        stand.kill("policy")
        time.sleep(0.05)
        return last_chunk_ns(stand)

    def cure() -> None:
        del stand.session.latest["policy"]
        stand.start("policy")

    stand.stops(cause, cure, TIMEOUT_S + 2 * COMMAND_TICK_S, "policy: no good chunk")
    stand.get_moving()


@pytest.mark.parametrize("kind", ["of nonsense", "of good ones"])
def test_a_storm_of_chunks_changes_nothing(stand: Stand, kind: str) -> None:
    from hpt_ros.msg import ActionChunk

    from hpt_ros.nodes.runtime import RELIABLE_10

    node = stand.session.node
    publisher = node.create_publisher(ActionChunk, "/hpt_ros/action_chunk", RELIABLE_10)
    sent = 0

    def storm() -> None:
        nonlocal sent
        end_s = time.monotonic() + 0.8
        while time.monotonic() < end_s:
            chunk = stand.chunks[-1]
            if kind == "of nonsense":
                chunk = ActionChunk(names=chunk.names, rows=[float("nan")] * len(chunk.rows), source="policy")
            publisher.publish(chunk)
            sent += 1
            time.sleep(0.001)

    stand.get_moving()
    before = stand.status
    stand.goes_on(storm, lambda: None, 0.0)
    node.destroy_publisher(publisher)
    assert sent > 50
    stand.session.wait_for(
        "the count",
        lambda: (
            stand.status.chunks_rejected + stand.status.chunks_accepted
            >= before.chunks_rejected + before.chunks_accepted + 50
        ),
        WAIT_S,
    )
    if kind == "of nonsense":
        assert stand.status.chunks_rejected > before.chunks_rejected + 50


def test_streams_that_come_back_from_a_restart_are_used_again(stand: Stand) -> None:
    """Every publisher of the robot goes without a word, and comes back as another DDS participant."""

    def cause() -> int:
        good_ns = min(stand.fault(stream, "none") for stream in STREAMS)
        stand.kill("relay")
        return good_ns

    slowest_s = max(1 / spec.rate_hz for spec in ROBOT.streams())
    first_missed = r"sample is \d+ ms old"  # of the stream whose last sample happens to be the oldest
    if ROBOT.robot_state:
        first_missed += r"|^robot state: silent for \d+ ms"
    stand.stops(cause, lambda: stand.start("relay"), BUDGET_S + slowest_s + ONE_TICK_S, first_missed)
    stand.get_moving()


def test_an_arm_without_a_commander_brakes_by_itself(stand: Stand) -> None:
    """The last message ends in a brake; the arm's controller carries it out."""
    from sensor_msgs.msg import JointState

    from hpt_ros.nodes.runtime import RELIABLE_10

    measured: list[Any] = []
    topic = ROBOT.joints.topic
    stand.get_moving()
    watch = stand.session.node.create_subscription(JointState, topic, measured.append, RELIABLE_10)
    stand.session.wait_for("joint states", lambda: measured, WAIT_S)
    stand.kill("commander")
    time.sleep(0.05)

    def at_rest_after(label: Any) -> Any:
        return next((m for m in measured if stamp(m) > stamp(label) and np.abs(m.velocity).max() < 2e-3), None)

    stand.session.wait_for("rest", lambda: at_rest_after(stand.labels[-1]), WAIT_S)
    stand.session.node.destroy_subscription(watch)
    last = stand.labels[-1]  # by now it has come here, however busy the machine
    rested = at_rest_after(last)
    speed = np.abs(last.velocity[:7])
    longest_s = (speed / (ROBOT.safety.acceleration_fraction * 7.5)).max() + 0.1  # the servos lag
    assert stamp(rested) - stamp(last) <= longest_s * 1e9 + 50 * MS
    del stand.session.latest["commander"]
    stand.start("commander")
    stand.get_moving()


def test_no_command_of_the_whole_matrix_left_the_limits(stand: Stand) -> None:
    assert len(stand.labels) > 200
    stand.check_limits()
