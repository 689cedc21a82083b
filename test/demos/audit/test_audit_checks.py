"""Every fault, seeded into clean views, is found under its right name and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import clean
import numpy as np
import pytest
from clean import JOINTS, ROBOT

from hpt_ros.control.limits import TABLES
from hpt_ros.demos.audit import KINDS, AuditConfig
from hpt_ros.demos.audit.audit import check_views
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.gripper import gripper_events_s
from hpt_ros.demos.audit.population import robust_z
from hpt_ros.demos.audit.timing import sync_report
from hpt_ros.demos.audit.view import Arrivals, EpisodeView, Refusal, Series

CONFIG = AuditConfig()
SAFETY = ROBOT.safety
TABLE = TABLES[SAFETY.limits]
Seed = Callable[[EpisodeView], EpisodeView]


def arrivals(view: EpisodeView, key: str, time_s: np.ndarray, delay_s: float = 0.002) -> EpisodeView:
    return replace(view, streams=view.streams | {key: Arrivals(time_s, np.full(len(time_s), delay_s))})


def camera(view: EpisodeView, **changed) -> EpisodeView:
    return replace(view, cameras=view.cameras | {"front": replace(view.cameras["front"], **changed)})


def joints(view: EpisodeView, change: Callable[[np.ndarray, np.ndarray], None]) -> EpisodeView:
    values = view.joints.values.copy()
    change(values, view.joints.time_s)
    return replace(view, joints=Series(view.joints.time_s, values))


def commands(view: EpisodeView, change: Callable[[np.ndarray, np.ndarray], None]) -> EpisodeView:
    values = view.command.values.copy()
    change(values, view.command.time_s)
    return replace(view, command=Series(view.command.time_s, values))


def both(view: EpisodeView, change: Callable[[np.ndarray, np.ndarray], None]) -> EpisodeView:
    return commands(joints(view, change), change)


def shifted(view: EpisodeView, later_s: float) -> EpisodeView:
    """The arm's angles, taken from another time."""
    moved = clean.measured(view.joints.time_s - later_s, int(view.name.split("/")[1]))
    return replace(view, joints=Series(view.joints.time_s, moved[:, :JOINTS]))


def every_other(view: EpisodeView) -> EpisodeView:
    return arrivals(view, "camera.front", view.streams["camera.front"].time_s[::2])


def paused(key: str, pause_s: float) -> Seed:
    def seed(view: EpisodeView) -> EpisodeView:
        time_s = view.streams[key].time_s
        return arrivals(view, key, time_s[(time_s < 1) | (time_s >= 1 + pause_s)])

    return seed


def stepped(view: EpisodeView) -> EpisodeView:
    """The camera's clock is set back by 0.7 s near the end."""
    front = view.streams["camera.front"]
    return replace(
        view, streams=view.streams | {"camera.front": replace(front, delay_s=np.where(front.time_s > 3, 0.702, 0.002))}
    )


def repeated(count: int, digests: slice) -> Seed:
    """Every picture of `digests` stands `count` times."""

    def seed(view: EpisodeView) -> EpisodeView:
        digest = view.cameras["front"].digest.copy()
        part = digest[digests]
        digest[digests] = part[np.arange(len(part)) // count * count]
        return camera(view, digest=digest)

    return seed


def spike(view: EpisodeView) -> EpisodeView:
    def change(values, _):
        values[300, 3] += 0.1

    return joints(view, change)


def not_a_number(view: EpisodeView) -> EpisodeView:
    def change(values, _):
        values[300, 3] = np.nan

    return joints(view, change)


def at_position_limit(view: EpisodeView) -> EpisodeView:
    """Joint 7, which does not move the tool, rises slowly to its margin and stays there for a while."""
    top = TABLE.position_max[6] - SAFETY.position_margin_rad

    def change(values, time_s):
        values[:, 6] = top - 0.3 * np.maximum(0, 1 - time_s / 3.5)

    return both(view, change)


def at_velocity_limit(view: EpisodeView) -> EpisodeView:
    speed = SAFETY.velocity_fraction * TABLE.velocity[6]

    def change(values, time_s):
        values[:, 6] = ROBOT.home_rad[6] + speed * (np.abs((time_s + 0.5) % 2 - 1) - 0.5)

    return both(view, change)


def standing(view: EpisodeView) -> EpisodeView:
    """Two thirds at rest, then the whole motion: the same goals, so the set stays as varied."""
    number = int(view.name.split("/")[1])

    def late(time_s):
        return np.maximum(0, (time_s - 2.8)) * 3.3

    moved = clean.measured(late(view.joints.time_s) + clean.LAG_S, number)[:, :JOINTS]
    command = clean.commanded(late(view.command.time_s), number)
    fingers = clean.measured(late(view.gripper.time_s), number)[:, JOINTS:]
    return replace(
        view,
        joints=Series(view.joints.time_s, moved),
        gripper=Series(view.gripper.time_s, fingers),
        command=Series(view.command.time_s, command),
    )


def dead_joint(view: EpisodeView) -> EpisodeView:
    def change(values, _):
        values[:, 6] = ROBOT.home_rad[6]

    return both(view, change)


def offset(view: EpisodeView) -> EpisodeView:
    def change(values, _):
        values[:, 2] -= 0.05

    return joints(view, change)


def width(values_at: Callable[[np.ndarray], np.ndarray]) -> Seed:
    def seed(view: EpisodeView) -> EpisodeView:
        def change(values, time_s):
            values[:, -1] = values_at(time_s)

        return commands(view, change)

    return seed


def open_all_the_time(view: EpisodeView) -> EpisodeView:
    fingers = Series(view.gripper.time_s, np.full_like(view.gripper.values, 0.08))
    return replace(width(lambda t: np.full(len(t), 0.08))(view), gripper=fingers)


def scaled(factor: float) -> Seed:
    """The same motion around home, smaller or larger."""

    def seed(view: EpisodeView) -> EpisodeView:
        def change(values, _):
            home = np.array(ROBOT.home_rad)
            values[:, :JOINTS] = home + factor * (values[:, :JOINTS] - home)

        return both(view, change)

    return seed


def turned(view: EpisodeView) -> EpisodeView:
    """The hand begins in another posture; the tool's path is the same."""

    def change(values, _):
        values[:, 6] += 0.6

    return both(view, change)


def wandering(view: EpisodeView) -> EpisodeView:
    """The hand turns to and fro on its way."""

    def change(values, time_s):
        values[:, 6] += 0.25 * np.sin(np.pi * time_s)

    return both(view, change)


def long(view: EpisodeView) -> EpisodeView:
    """Twice as slow."""
    slow = {
        name: Series(2 * series.time_s, series.values)
        for name, series in (("joints", view.joints), ("gripper", view.gripper), ("command", view.command))
    }
    return replace(view, **slow)


def above_the_box(view: EpisodeView) -> EpisodeView:
    """A box that ends below the hand: the arm is where it always is."""
    box = replace(SAFETY.workspace, z_m=(0.005, 0.4))
    return replace(view, embodiment=replace(ROBOT, safety=replace(SAFETY, workspace=box)))


def lit(**shares: float) -> Seed:
    def seed(view: EpisodeView) -> EpisodeView:
        sampled = view.cameras["front"].sampled
        return camera(view, **{name: np.full(len(sampled), share) for name, share in shares.items()})

    return seed


ONE = (3,)
ALL = tuple(range(10))
SEEDS: list[tuple[str, Seed, tuple[int, ...]]] = [
    ("bad_values", not_a_number, ONE),
    ("bad_values", lambda v: replace(v, refused=(Refusal("joints", 2, "no position for panda_joint3"),)), ONE),
    ("rate_low", every_other, ONE),
    ("gap", paused("camera.front", 0.3), ONE),
    ("gap", paused("command", 0.2), ONE),
    ("gap", paused("camera.front", 9.0), ONE),
    ("clock_skew", lambda v: arrivals(v, "camera.front", v.streams["camera.front"].time_s, 0.09), ONE),
    ("clock_skew", lambda v: arrivals(v, "joints", v.streams["joints"].time_s, -0.02), ONE),
    ("clock_skew", stepped, ONE),
    ("camera_black", lit(dark_share=0.99), ONE),
    ("camera_overexposed", lit(bright_share=0.9), ONE),
    ("camera_black", lambda v: repeated(200, slice(0, None))(lit(dark_share=1.0)(v)), ONE),
    ("camera_frozen", repeated(40, slice(40, 80)), ONE),
    ("frames_repeated", repeated(2, slice(0, None)), ONE),
    ("joint_jump", spike, ONE),
    ("position_limit", at_position_limit, ALL),
    ("velocity_limit", at_velocity_limit, ALL),
    ("command_offset", offset, ONE),
    ("arm_lags", lambda v: shifted(v, 0.25), ONE),
    ("arm_leads", lambda v: shifted(v, -0.12), ONE),
    ("idle", standing, ALL),
    ("dead_dimension", dead_joint, ALL),
    ("gripper_unused", open_all_the_time, ALL),
    ("gripper_silent", open_all_the_time, ONE),
    ("gripper_chatter", width(lambda t: np.where((t * 5).astype(int) % 2 == 0, 0.08, 0.0)), ONE),
    ("outside_workspace", above_the_box, ONE),
    ("coverage_narrow", scaled(0.15), ALL),
    ("failures", lambda v: replace(v, score=0.0, from_demos=True), ONE),
    ("outlier", long, ONE),
    ("outlier", turned, ONE),
    ("outlier", wandering, ONE),
    ("near_duplicate", lambda v: replace(clean.view(2), name=v.name), ONE),
]


def found(views: list[EpisodeView]) -> list[Finding]:
    return check_views(views, CONFIG)


def test_clean_views_are_silent() -> None:
    assert found(clean.views()) == []
    assert found(clean.views(1)) == []
    assert found([]) == []


@pytest.mark.parametrize(("kind", "seed", "where"), SEEDS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_seeded_fault_is_found_and_only_it(kind, seed, where) -> None:
    views = clean.views()
    for i in where:
        views[i] = seed(views[i])
    findings = found(views)
    assert {finding.kind for finding in findings} == {kind}, findings
    assert {finding.episode for finding in findings} <= {views[i].name for i in where} | {""}
    assert all(finding.seen and finding.expected and finding.remedy for finding in findings)


def test_every_kind_is_seeded() -> None:
    elsewhere = {"unreadable", "old_samples"}  # test_audit_bags.py, below
    assert {kind for kind, _, _ in SEEDS} | elsewhere == set(KINDS)


@pytest.mark.parametrize(
    ("figures", "kind"),
    [
        ({}, None),
        ({"rate_hz": 24.0}, "rate_low"),
        ({"age_p95_ms": 140.0}, "old_samples"),
        ({"rate_hz": 15.0, "age_p95_ms": 140.0}, "rate_low"),
    ],
)
def test_the_report_of_a_conversion_is_read(figures, kind) -> None:
    good = {spec.key: {"rate_hz": spec.rate_hz, "age_p95_ms": 40.0} for spec in ROBOT.streams()}
    sync = good | {"camera.front": good["camera.front"] | figures}
    findings = list(sync_report(sync, ROBOT, CONFIG))
    assert [(f.kind, f.subject) for f in findings] == ([(kind, "camera.front")] if kind else [])


def test_faults_stay_apart_when_there_are_several() -> None:
    views = clean.views()
    views[1], views[2], views[3] = spike(views[1]), long(views[2]), repeated(40, slice(40, 80))(views[3])
    assert {(f.kind, f.episode) for f in found(views)} == {
        ("joint_jump", "reach/1"),
        ("outlier", "reach/2"),
        ("camera_frozen", "reach/3"),
    }


def test_fingers_that_hover_half_open_make_no_events() -> None:
    hovering = width(lambda t: 0.08 * (0.55 + 0.1 * np.sin(40 * t)))(clean.view(0))
    assert gripper_events_s(hovering, CONFIG).tolist() == []
    np.testing.assert_allclose(gripper_events_s(clean.view(0), CONFIG), [2.0])


def test_a_failure_is_only_a_fault_of_a_demonstration_set() -> None:
    views = clean.views()
    views[3] = replace(views[3], score=0.0)
    assert found(views) == [], "conversion leaves a failed bag out"


@pytest.mark.parametrize("key", ["joints", "gripper", "command"])
def test_values_that_are_not_finite_are_found_in_every_series(key) -> None:
    view = clean.view(0)
    series = getattr(view, key)
    values = series.values.copy()
    values[20, -1] = np.inf
    (finding,) = found([replace(view, **{key: Series(series.time_s, values)})])
    assert (finding.kind, finding.subject) == ("bad_values", key)
    assert "1 rows" in finding.seen


def test_robust_scores() -> None:
    """Median 5, median absolute deviation 2; where all are equal, a tenth of the median is the unit."""
    np.testing.assert_allclose(robust_z(np.arange(1.0, 10.0), 0.1)[[0, 8]], [-4 / 2.9652, 4 / 2.9652])
    np.testing.assert_allclose(robust_z(np.array([10.0] * 9 + [10.5]), 0.1)[-1], 0.5)


def test_a_picture_may_stand_while_the_arm_does() -> None:
    """Simulated pictures of a resting arm are equal; only motion makes a repeated one suspicious."""

    def rest(values, time_s):
        values[:] = np.where((time_s > 1)[:, None] & (time_s < 2.4)[:, None], values[200], values)

    view = repeated(34, slice(34, 68))(clean.view(0))
    kinds = {f.kind for f in check_views([view], CONFIG)}
    assert kinds == {"camera_frozen"}
    still = joints(view, lambda values, t: values.__setitem__(slice(None), clean.measured(np.zeros(1), 0)[0, :JOINTS]))
    assert not {"camera_frozen", "frames_repeated"} & {f.kind for f in check_views([still], CONFIG)}
