"""Whatever the target: finite, inside every limit, inside the workspace, continuous from the start, able to stop."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpt_ros.control.guard import REACH_M, SELF_COLLISION, TABLE, Guard, Known
from hpt_ros.control.kinematics import tcp_position
from hpt_ros.control.limiter import JOINT_VELOCITY, JointState, LimitedCommand, Limiter, UnsafeRequestError
from hpt_ros.control.limits import TABLES, VelocityLimits
from hpt_ros.control.trajectory import JointTrajectoryFollower
from hpt_ros.embodiment import load_embodiment
from hpt_ros.embodiment.schema import Safety, Workspace

Array = NDArray[np.float64]
SIM = load_embodiment("sim_panda")
HOME = np.array(SIM.home_rad)
PERIOD = 1 / SIM.command.rate_hz
TOOL_TOLERANCE_M = 0.003
OPEN_SPACE = Workspace((-2, 2), (-2, 2), (-2, 2))


def make(safety: Safety = SIM.safety, q: Array = HOME, period_s: float = PERIOD) -> Limiter:
    limiter = Limiter(safety, SIM.joints.names, period_s)
    limiter.reset(q)
    return limiter


def assert_inside(limiter: Limiter, states: list[JointState]) -> None:
    """Every limit, from the states themselves and from their finite differences."""
    q, dq, ddq = (np.array([getattr(s, name) for s in states]) for name in ("q", "dq", "ddq"))
    assert np.isfinite(q).all()
    assert (q >= limiter.low - 1e-6).all()
    assert (q <= limiter.high + 1e-6).all()
    for values, limit in (
        (dq, limiter.velocity),
        (ddq, limiter.acceleration),
        (np.diff(q, axis=0) / limiter.period_s, limiter.velocity),
        (np.diff(dq, axis=0) / limiter.period_s, limiter.acceleration),
        (np.diff(ddq, axis=0) / limiter.period_s, limiter.jerk),
    ):
        assert (np.abs(values) <= limit * (1 + 1e-4) + 1e-9).all()


def assert_tool_inside(box: Workspace, q: Array) -> None:
    for value, (low, high) in zip(tcp_position(q.tolist()), (box.x_m, box.y_m, box.z_m), strict=True):
        assert low - TOOL_TOLERANCE_M <= value <= high + TOOL_TOLERANCE_M


def vectors(low: float, high: float) -> st.SearchStrategy[Array]:
    return st.tuples(*[st.floats(low, high)] * 7).map(np.array)


wild = st.tuples(vectors(-10, 10), vectors(-100, 100), vectors(-1000, 1000))
near = st.tuples(vectors(-0.4, 0.4).map(lambda d: HOME + d), vectors(-3, 3), vectors(-20, 20))
huge = st.just((np.full(7, 1e300), np.full(7, -1e300), np.full(7, 1e300)))
requests = st.lists(
    st.tuples(st.one_of(near, wild, huge), st.integers(1, 40), st.integers(0, 5)), min_size=1, max_size=12
)


@pytest.mark.parametrize(
    "period_s", [0.01, 0.001], ids=["100Hz", "1kHz"]
)  # at 1 kHz the jerk limit is the one that binds
@pytest.mark.parametrize(
    "safety",
    [SIM.safety, Safety("fer", OPEN_SPACE, 1, 0.65, 1, 0.0), Safety("fr3", OPEN_SPACE)],
    ids=["preset", "full", "fr3"],
)
@given(script=requests)
@settings(max_examples=25, deadline=None)
def test_any_target_gives_safe_motion(script: list, safety: Safety, period_s: float) -> None:
    limiter = make(safety, period_s=period_s)
    states = [limiter.state]
    for target, ticks, braked in script:
        states += [limiter.step(*target).state for _ in range(ticks)]
        states += [limiter.brake().state for _ in range(braked)]
    assert_inside(limiter, states)
    for state in states:
        assert_tool_inside(safety.workspace, state.q)
    rest = limiter.brake(periods=1000)
    assert limiter.at_rest
    assert rest.brake == ()
    assert_tool_inside(safety.workspace, rest.state.q)


@given(requests)
@settings(max_examples=30, deadline=None)
def test_every_message_ends_in_a_safe_stop_by_the_robot_side_alone(script: list) -> None:
    """The sender dies after any command: what the controller interpolates from the points stays inside the limits."""
    limiter = make()
    for target, ticks, _ in script:
        for _ in range(ticks):
            before, command = limiter.state, limiter.step(*target)
        assert_stops(limiter, before, command)


def assert_stops(limiter: Limiter, before: JointState, command: LimitedCommand) -> None:
    points = [(PERIOD, command.state.q, command.state.dq, None)]
    points += [(PERIOD + t, q, dq, None) for t, q, dq in command.brake]
    if not command.brake:
        np.testing.assert_allclose(command.state.dq, 0, atol=1e-9)
        points = [(PERIOD, command.state.q, None, None)]
    assert all(b[0] > a[0] for a, b in pairwise(points))
    arm = JointTrajectoryFollower(SIM.joints.names, before.q)
    arm.accept(SIM.joints.names, points, 0, 1, measured=(before.q, before.dq))
    end_ns = round(points[-1][0] * 1e9)
    path = [arm.sample(t) for t in range(1, end_ns + 1_000_000, 1_000_000)]
    q, dq = (np.array(values) for values in zip(*path, strict=True))
    assert (q >= limiter.low - 0.002).all()
    assert (q <= limiter.high + 0.002).all()
    assert (np.abs(dq) <= 1.05 * limiter.velocity).all()
    np.testing.assert_array_equal(dq[-1], 0)


def test_a_feasible_motion_passes_unaltered() -> None:
    limiter = make()
    shape = np.array([1, 0.3, -0.7, 0.4, -1, 0.5, 1])
    for tick in range(1, 600):
        t = tick * PERIOD
        q, dq = HOME + 0.15 * (1 - math.cos(2 * t)) * shape, 0.3 * math.sin(2 * t) * shape
        command = limiter.step(q, dq)
        assert not command.altered, t
        np.testing.assert_allclose(command.state.q, q, atol=1e-6)


def test_a_far_target_is_reached_and_held() -> None:
    limiter = make()
    target = HOME + np.array([0.5, 0.1, -0.2, 0.2, 0.3, -0.3, 1.0])
    first = limiter.step(target, np.zeros(7))
    assert first.altered
    assert np.abs(first.state.q - HOME).max() < 0.01
    for _ in range(400):
        command = limiter.step(target, np.zeros(7))
    np.testing.assert_allclose(command.state.q, target, atol=1e-6)
    assert not command.altered


def test_a_target_beyond_a_joint_limit_ends_at_the_margin() -> None:
    limiter = make(Safety("fer", OPEN_SPACE, position_margin_rad=0.05))
    for _ in range(600):
        command = limiter.step(HOME + np.array([0, 0, 0, 0, 0, 0, 9.0]), np.full(7, 0.5))
    assert command.state.q[6] == pytest.approx(2.8973 - 0.05, abs=1e-4)
    assert command.altered


def test_the_tool_stops_at_the_table_and_comes_back() -> None:
    limiter = make()
    down = np.array([0, 0.9, 0, -1.9, 0, 2.6, 0.785])
    assert tcp_position(down.tolist())[2] < 0
    heights = [tcp_position(limiter.step(down, np.zeros(7)).state.q.tolist())[2] for _ in range(500)]
    assert min(heights) >= SIM.safety.workspace.z_m[0] - TOOL_TOLERANCE_M
    assert heights[-1] < 0.1  # it went down as far as it may
    for _ in range(500):
        command = limiter.step(HOME, np.zeros(7))
    np.testing.assert_allclose(command.state.q, HOME, atol=1e-6)


def test_links_stay_above_the_table_though_the_tool_may_go_lower() -> None:
    """The hand lies flat: its side reaches the table long before the tool does."""
    safety = replace(SIM.safety, workspace=Workspace((0.1, 0.9), (-0.5, 0.5), (-0.2, 0.9)), table_z_m=0.0)
    flat = np.array([0.0, 0.9, 0.0, -2.05, 0.0, 1.2, 0.785])
    guard, limiter = Guard(safety), make(safety)
    low = guard.rooms(np.array([flat]))[0]
    assert low[0] > 0, "in the box"
    assert low[1] < 0, "in the table"
    states = [limiter.step(flat, np.zeros(7)) for _ in range(500)]
    assert guard.rooms(np.array([s.state.q for s in states]))[:, 1].min() >= 0
    assert states[-1].limits == (TABLE,)
    with pytest.raises(UnsafeRequestError, match=r"mm below the table at z 0 m"):
        make(safety, flat)


def test_the_arm_brakes_before_it_touches_itself() -> None:
    safety = Safety("fer", OPEN_SPACE)
    folded = np.array([0.0, 1.2, 0.0, -3.0, 0.0, 0.6, 0.8])
    guard, limiter = Guard(safety), make(safety)
    states = [limiter.step(folded, np.zeros(7)) for _ in range(500)]
    rooms = guard.rooms(np.array([s.state.q for s in states]))[:, 2]
    assert rooms.min() >= 0
    assert rooms[-1] < 0.05, "as near as it may"
    assert states[-1].limits == (SELF_COLLISION,)
    with pytest.raises(UnsafeRequestError, match=r"and the .* mm apart, at least 5 mm are kept"):
        make(safety, folded)


@given(st.lists(st.tuples(vectors(-2.8, 2.8), vectors(-0.2, 0.2), st.integers(1, 4)), min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_is_known_of_one_posture_never_hides_another(path: list) -> None:
    guard, known = Guard(SIM.safety), Known()
    for q, step, count in path:
        assert guard.judge(HOME[None], np.array([0.001]), known) == ("",)  # much room is known of
        postures = q + np.arange(count)[:, None] * step
        margin = np.full(count, 0.001)
        assert guard.judge(postures, margin, known) == guard.judge(postures, margin)


def test_rooms_change_no_faster_than_they_are_said_to() -> None:
    rng = np.random.default_rng(1)
    table = TABLES["fer"]
    q = rng.uniform(table.position_min, table.position_max, (3000, 7))
    step = rng.normal(0, 0.05, q.shape) * (rng.random(q.shape) < 0.3)
    guard = Guard(SIM.safety)
    change = np.abs(guard.rooms(q + step) - guard.rooms(q)).max(axis=1)
    assert (change <= np.abs(step) @ REACH_M + 1e-9).all()
    assert (change > 0.5 * np.abs(step) @ REACH_M).any(), "and not much slower"


FULL = Safety("fr3_full", OPEN_SPACE, velocity_fraction=1.0, acceleration_fraction=0.65, jerk_fraction=1.0)


@given(script=requests)
@settings(max_examples=8, deadline=None)
def test_near_its_end_stops_an_fr3_keeps_the_velocity_of_its_position(script: list) -> None:
    limiter, allowed = make(FULL), VelocityLimits(TABLES["fr3_full"], 1.0)
    for target, ticks, _ in script:
        for _ in range(ticks):
            state = limiter.step(*target).state
            assert (state.dq <= allowed.up(state.q) + 1e-4).all()
            assert (-state.dq <= allowed.down(state.q) + 1e-4).all()


def test_a_state_too_fast_for_its_position_has_no_proven_brake() -> None:
    limiter, allowed = make(FULL), VelocityLimits(TABLES["fr3_full"], 1.0)
    q = HOME.copy()
    q[1] = 1.6  # where the curve binds, and the joint can brake faster than it falls
    for share, proven in ((0.97, True), (1.03, False)):
        dq = np.zeros(7)
        dq[1] = share * allowed.up(q)[1]
        brake = limiter._prove_brake(JointState(q, dq, np.zeros(7)))
        assert (brake != JOINT_VELOCITY) is proven
    assert allowed.up(q)[1] < limiter.velocity[1]


def test_an_end_stop_is_reached_in_spite_of_its_slow_zone() -> None:
    limiter = make(FULL)
    target = HOME.copy()
    target[0] = 9.0
    states = [limiter.step(target, np.zeros(7)).state for _ in range(600)]
    assert states[-1].q[0] == pytest.approx(limiter.high[0], abs=1e-3)
    assert max(state.dq[0] for state in states) > 1.5, "fast in the middle"
    near = [state.dq[0] for state in states if state.q[0] > limiter.high[0] - 0.1]
    assert max(near) < 1.2, "slow at the end"


def test_the_velocity_of_an_fr3_by_position_is_that_of_libfranka() -> None:
    """Values of libfranka's formula, computed by hand for joints 1 and 4."""
    allowed = VelocityLimits(TABLES["fr3_full"], 0.5)
    q = np.array([2.5, 0, 0, -3.0, 0, 2.0, 0])
    assert allowed.up(q)[0] == pytest.approx(0.5 * (math.sqrt(12 * 0.2501) - 0.30))
    assert allowed.down(q)[0] == pytest.approx(0.5 * 2.62)
    assert allowed.down(q)[3] == pytest.approx(0.5 * (math.sqrt(8 * 0.0481) - 0.30))
    assert VelocityLimits(TABLES["fr3"], 1.0).up(np.array([0, 1.5133, 0, -1, 0, 2, 0]))[1] == pytest.approx(
        1.0, abs=1e-3
    )


def test_a_way_that_leaves_the_workspace_stops_inside() -> None:
    """Start and target are inside, the arc between them is not."""
    box = Workspace((0.15, 0.28), (-0.4, 0.4), (0.1, 0.9))
    start, target = HOME.copy(), HOME.copy()
    start[0], target[0] = -0.7, 0.7
    limiter = make(replace(SIM.safety, workspace=box), start)
    states = [limiter.step(target, np.zeros(7)).state for _ in range(400)]
    assert_inside(limiter, states)
    for state in states:
        assert_tool_inside(box, state.q)
    assert states[-1].q[0] > -0.55  # it went as far as it may
    assert np.abs(states[-1].dq).max() < 0.01


def test_braking_comes_to_rest_and_stays() -> None:
    limiter = make()
    for _ in range(30):
        limiter.step(HOME + 1.0, np.zeros(7))
    assert not limiter.at_rest
    states = [limiter.state] + [limiter.brake().state for _ in range(60)]
    assert limiter.at_rest
    assert_inside(limiter, states)
    np.testing.assert_array_equal(states[-1].q, states[-2].q)


def test_braking_over_missed_periods_is_the_same_path() -> None:
    one, many = make(), make()
    for limiter in (one, many):
        for _ in range(30):
            limiter.step(HOME + 0.3, np.zeros(7))
    for _ in range(7):
        one.brake()
    many.brake(periods=7)
    np.testing.assert_allclose(one.state.q, many.state.q, atol=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", [0, 1, 2])
def test_a_target_that_is_not_finite_is_an_error(bad: float, field: int) -> None:
    limiter = make()
    request = [HOME.copy(), np.zeros(7), np.zeros(7)]
    request[field][3] = bad
    with pytest.raises(UnsafeRequestError, match="finite"):
        limiter.step(*request)
    np.testing.assert_array_equal(limiter.brake().state.q, HOME)


def test_a_start_outside_the_limits_names_the_joint() -> None:
    q = HOME.copy()
    q[3] = -0.05
    with pytest.raises(UnsafeRequestError, match=r"panda_joint4 is at -0\.050"):
        make(q=q)
    q[3] = math.nan
    with pytest.raises(UnsafeRequestError, match="panda_joint4"):
        make(q=q)


def test_a_start_outside_the_workspace_is_refused() -> None:
    with pytest.raises(UnsafeRequestError, match=r"workspace is x 0\.15 to 0\.8"):
        make(q=np.array([2.0, -0.785, 0, -2.356, 0, 1.571, 0.785]))


def test_nothing_moves_before_a_start() -> None:
    limiter = Limiter(SIM.safety, SIM.joints.names, PERIOD)
    for move in (lambda: limiter.step(HOME, np.zeros(7)), limiter.brake):
        with pytest.raises(UnsafeRequestError, match="not started"):
            move()
