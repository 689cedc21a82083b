"""The same faults, seeded into the messages of recorded bags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import clean
import numpy as np
import pytest
import synthetic
from clean import JOINTS, ROBOT
from synthetic import MS, START_NS

from hpt_ros.demos.audit import AuditReport, audit
from hpt_ros.errors import DataError, FingerprintError
from hpt_ros.recording.edits import change_edit

Messages = list[tuple[str, int, bytes]]
MESSAGES: Messages = list(clean.messages())


def record(root: Path, messages: Messages) -> Path:
    return synthetic.record(root, ROBOT, iter(messages))


def kinds(report: AuditReport) -> set[tuple[str, str]]:
    return {(finding.kind, finding.subject) for finding in report.findings}


def changed(key: str, change: Callable[[int, int, bytes], bytes | None]) -> Messages:
    """Messages of one stream made anew from (number, stamp, old); None leaves one out."""
    out: Messages = []
    number = 0
    for name, stamp, old in MESSAGES:
        if name == key:
            raw, number = change(number, stamp, old), number + 1
        else:
            raw = old
        if raw is not None:
            out.append((name, stamp, raw))
    return out


def seconds(stamp_ns: int) -> float:
    return (stamp_ns - START_NS) / 1e9


def joints(change: Callable[[int, np.ndarray], None], later_s: float = 0.0) -> Messages:
    def made(number: int, stamp: int, _: bytes) -> bytes:
        values = clean.measured(np.array([seconds(stamp) - later_s]), 0)[0, :JOINTS]
        change(number, values)
        return clean.joint_state(stamp, values)

    return changed("joints", made)


def pictures(picture: Callable[[int], np.ndarray]) -> Messages:
    return changed("camera.front", lambda number, stamp, _: synthetic.image(stamp, picture(number)))


def at(number: int, value: float) -> Callable[[int, np.ndarray], None]:
    def change(i: int, values: np.ndarray) -> None:
        if i == number:
            values[3] += value

    return change


def chatter() -> Messages:
    def made(_: int, stamp: int, __: bytes) -> bytes:
        values = clean.commanded(np.array([seconds(stamp)]), 0)[0]
        values[-1] = 0.08 if int(seconds(stamp) * 5) % 2 else 0.0
        return synthetic.command(stamp, ROBOT, values)

    return changed("command", made)


GREY = np.full((24, 32, 3), 120, np.uint8)
SEEDS: dict[str, tuple[Messages, set[tuple[str, str]]]] = {
    "nothing": (MESSAGES, set()),
    "one NaN": (joints(at(200, np.nan)), {("bad_values", "joints")}),
    "an image that is none": (
        changed("camera.wrist", lambda i, stamp, old: old if i != 6 else old[:60]),
        {("bad_values", "camera.wrist")},
    ),
    "a pause": (
        changed("gripper", lambda _, stamp, old: None if 1 < seconds(stamp) < 1.6 else old),
        {("gap", "gripper")},
    ),
    "a camera that dies": (
        changed("camera.front", lambda _, stamp, old: None if seconds(stamp) > 2.5 else old),
        {("gap", "camera.front")},
    ),
    "half the rate": (
        changed("camera.wrist", lambda i, _, old: old if i % 2 else None),
        {("rate_low", "camera.wrist")},
    ),
    "a clock ahead": (
        changed("camera.front", lambda i, stamp, _: synthetic.image(stamp + 80 * MS, synthetic.frame(i))),
        {("clock_skew", "camera.front")},
    ),
    "a clock behind": (
        changed("camera.front", lambda i, stamp, _: synthetic.image(stamp - 120 * MS, synthetic.frame(i))),
        {("clock_skew", "camera.front")},
    ),
    "a lens cap": (pictures(lambda _: np.zeros_like(GREY)), {("camera_black", "camera.front")}),
    "a lamp": (pictures(lambda _: np.full_like(GREY, 255)), {("camera_overexposed", "camera.front")}),
    "a stuck driver": (pictures(lambda i: synthetic.frame(min(i, 60))), {("camera_frozen", "camera.front")}),
    "frames sent twice": (pictures(lambda i: synthetic.frame(i // 2)), {("frames_repeated", "camera.front")}),
    "a jump": (joints(at(300, 0.2)), {("joint_jump", "panda_joint4")}),
    "an arm that sags": (
        joints(lambda _, values: values.__setitem__(1, values[1] - 0.06)),
        {("command_offset", "panda_joint2")},
    ),
    "a soft arm": (joints(lambda *_: None, later_s=0.22), {("arm_lags", "")}),
    "another master": (joints(lambda *_: None, later_s=-0.1), {("arm_leads", "")}),
    "a bouncing button": (chatter(), {("gripper_chatter", "")}),
}


@pytest.mark.parametrize("name", SEEDS)
def test_a_seeded_fault_is_found_and_only_it(name, tmp_path) -> None:
    messages, expected = SEEDS[name]
    record(tmp_path, messages)
    report = audit([tmp_path])
    assert kinds(report) == expected
    assert len(report.views) == 1


def test_a_set_of_bags_is_compared(tmp_path) -> None:
    for number in (0, 1, 0):
        record(tmp_path, list(clean.messages(number)))
    (finding,) = audit([tmp_path]).findings
    first, _, third = sorted(path.name for path in (tmp_path / "reach").iterdir() if path.is_dir())
    assert finding.kind == "near_duplicate"
    assert (finding.episode, finding.subject) == (f"reach/{third}", f"reach/{first}")


def test_bags_that_cannot_be_read_are_findings(tmp_path) -> None:
    whole = record(tmp_path, MESSAGES)
    silent = record(tmp_path, [m for m in MESSAGES if m[0] != "gripper"])
    cut = record(tmp_path, MESSAGES)
    mcap = next(cut.glob("*.mcap"))
    mcap.write_bytes(mcap.read_bytes()[:20_000])
    report = audit([tmp_path])
    assert {(f.kind, f.episode) for f in report.findings} == {
        ("unreadable", f"reach/{silent.name}"),
        ("unreadable", f"reach/{cut.name}"),
    }
    assert [view.name for view in report.views] == [f"reach/{whole.name}"]
    assert report.harmful


def test_edits_are_honoured(tmp_path) -> None:
    trimmed, excluded = record(tmp_path, joints(at(760, 0.5))), record(tmp_path, joints(at(300, 0.5)))
    assert kinds(audit([tmp_path])) >= {("joint_jump", "panda_joint4")}
    change_edit(trimmed, trim_end_s=0.3)
    change_edit(excluded, excluded=True)
    report = audit([tmp_path])
    assert report.findings == ()
    assert report.left_out == (f"reach/{excluded.name}",)


def test_what_cannot_be_audited_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="no bag here"):
        audit([tmp_path])
    record(tmp_path, MESSAGES)
    other = synthetic.embodiment(rate_hz=10)
    synthetic.record(tmp_path, other, synthetic.messages(other, 0.5))
    with pytest.raises(FingerprintError, match="rate_hz"):
        audit([tmp_path])


def test_arrays_of_a_bag_are_those_that_were_recorded(tmp_path) -> None:
    record(tmp_path, MESSAGES)
    (view,) = audit([tmp_path]).views
    np.testing.assert_allclose(view.joints.values, clean.measured(view.joints.time_s, 0)[:, :JOINTS])
    np.testing.assert_allclose(view.gripper.values, clean.measured(view.gripper.time_s, 0)[:, JOINTS:])
    np.testing.assert_allclose(view.command.values, clean.commanded(view.command.time_s, 0))
    assert {key: len(arrivals.time_s) for key, arrivals in view.streams.items()} == {
        key: len(clean.times(key)) for key in clean.RATES_HZ
    }
    assert all(np.allclose(arrivals.delay_s, 1e-3) for arrivals in view.streams.values())


def messages_in_disorder() -> Iterator[tuple[str, int, bytes]]:
    """Neighbours of one stream arrive in turn; the stamps say what happened."""
    waiting = [m for m in MESSAGES if m[0] == "joints"]
    swapped = {id(a): b for pair in zip(waiting[::2], waiting[1::2], strict=True) for a, b in (pair, pair[::-1])}
    for message in MESSAGES:
        key, stamp, _ = message
        yield key, stamp, swapped.get(id(message), message)[2]


def test_the_order_of_arrival_does_not_matter(tmp_path) -> None:
    record(tmp_path / "plain", MESSAGES)
    record(tmp_path / "disorder", list(messages_in_disorder()))
    (plain,), (disorder,) = audit([tmp_path / "plain"]).views, audit([tmp_path / "disorder"]).views
    np.testing.assert_array_equal(disorder.joints.values, plain.joints.values)
    assert audit([tmp_path / "disorder"]).findings == ()
    assert (np.diff(disorder.streams["joints"].time_s) > 0).all()
    delays_s = disorder.streams["joints"].delay_s
    np.testing.assert_allclose(delays_s.reshape(-1, 2), [[0.006, -0.004]] * (len(delays_s) // 2), atol=1e-6)
