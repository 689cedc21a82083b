"""Bags to a demonstration set and back: what is written, what is refused, what is left behind."""

from __future__ import annotations

import filecmp
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from synthetic import MS, START_NS

from hpt_ros.demos import Demos, convert
from hpt_ros.demos.part import obstacle
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.demos.store import NpyAppender
from hpt_ros.errors import BusyError, DataError, FingerprintError
from hpt_ros.streams import Observer

ROBOT = synthetic.embodiment(observation_horizon=2, action_horizon=4)
MESSAGES = list(synthetic.messages(ROBOT, 1.5))


def without(key: str, from_ms: int):
    return (m for m in MESSAGES if m[0] != key or m[1] < START_NS + from_ms * MS)


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    for score in (1.0, 0.5):
        synthetic.record(tmp_path / "bags", ROBOT, iter(MESSAGES), score)
    return tmp_path / "bags"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_demonstrations_are_what_the_live_observer_sees(bags, tmp_path) -> None:
    report = convert([bags], None, tmp_path / "demos")
    demos = Demos.open(tmp_path / "demos")
    assert (report.episodes, report.ticks, report.skipped) == (2, len(demos), ())
    assert demos.embodiment == ROBOT
    live, waiting = Observer(ROBOT), [m for m in MESSAGES if m[0] != "command"]
    episode = demos.episodes[1]
    for i in range(episode.start + 1, episode.stop):
        while waiting and waiting[0][1] <= demos.tick_ns[i]:
            key, _, raw = waiting.pop(0)
            live.push(key, raw)
        observation, window = live.observe(int(demos.tick_ns[i])), demos.window(i)
        np.testing.assert_array_equal(window.state, observation.state)
        for name in ("front", "wrist"):
            np.testing.assert_array_equal(window.images[name], observation.images[name])


def test_windows_stay_inside_their_episode(bags, tmp_path) -> None:
    convert([bags], None, tmp_path / "demos")
    demos = Demos.open(tmp_path / "demos")
    start, stop = demos.episodes[1].start, demos.episodes[1].stop
    assert (demos.episodes[0].stop, stop) == (start, len(demos))
    first = demos.window(start)
    np.testing.assert_array_equal(first.state, demos.state[[start, start]])
    np.testing.assert_array_equal(first.images["front"], demos.images["front"][[start, start]])
    np.testing.assert_array_equal(first.action, demos.command[start + 1 : start + 5])
    assert first.valid.all()
    last = demos.window(stop - 2)
    np.testing.assert_array_equal(last.state, demos.state[[stop - 3, stop - 2]])
    np.testing.assert_array_equal(last.action, demos.command[[stop - 1] * 4])
    assert last.valid.tolist() == [True, False, False, False]
    assert (last.state.shape, last.action.shape) == ((2, 8), (4, 8))


def test_statistics_and_sync_report_describe_the_data(bags, tmp_path) -> None:
    convert([bags], None, tmp_path / "demos")
    demos = Demos.open(tmp_path / "demos")
    for name, rows in (("state", demos.state), ("command", demos.command)):
        statistics = demos.statistics[name]
        np.testing.assert_allclose(statistics["mean"], rows.mean(0), atol=1e-6)
        np.testing.assert_allclose(statistics["std"], rows.std(0), atol=1e-6)
        np.testing.assert_array_equal(statistics["min"], rows.min(0))
        np.testing.assert_array_equal(statistics["max"], rows.max(0))
    assert demos.sync.keys() == {"joints", "gripper", "camera.front", "camera.wrist", "command"}
    front = demos.sync["camera.front"]
    assert front["rate_hz"] == pytest.approx(30, rel=0.01)
    assert 30 <= front["age_mean_ms"] <= front["age_p95_ms"] <= front["age_max_ms"] <= 64


def test_same_input_gives_the_same_bytes(bags, tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    convert([bags], None, one)
    convert([bags / "reach"], ROBOT, two)
    assert files(one) == files(two)
    assert filecmp.cmpfiles(one, two, files(one), shallow=False)[0] == files(one)
    assert set(files(one)) == {
        "command.npy",
        "demos.json",
        "images/front.npy",
        "images/wrist.bin",
        "images/wrist.spans.npy",
        "intervention.npy",
        "state.npy",
        "tick_ns.npy",
    }


def test_existing_set_is_kept_unless_told_otherwise(bags, tmp_path) -> None:
    out = tmp_path / "demos"
    convert([bags], None, out)
    before = (out / "demos.json").read_bytes()
    with pytest.raises(BusyError, match="exists"):
        convert([bags], None, out)
    with pytest.raises(DataError):
        convert([bags], None, out, ConvertSettings(min_score=2.0), overwrite=True)
    assert (out / "demos.json").read_bytes() == before
    convert([bags], None, out, ConvertSettings(min_score=1.0), overwrite=True)
    assert len(Demos.open(out).episodes) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bags", "demos"]


def test_low_scores_are_left_out(bags, tmp_path) -> None:
    failed = synthetic.record(bags, ROBOT, iter(MESSAGES), score=0.0)
    report = convert([bags], None, tmp_path / "demos")
    assert (report.episodes, report.skipped) == (2, ((str(failed), "score 0 is below 0.5"),))
    assert convert([bags], None, tmp_path / "all", ConvertSettings(min_score=0.0)).episodes == 3


def test_bad_bags_are_named_and_skipped_only_on_request(bags, tmp_path) -> None:
    stale = synthetic.record(bags, ROBOT, without("camera.front", 700))
    empty = synthetic.record(bags, ROBOT, without("gripper", 0))
    cut = synthetic.record(bags, ROBOT, iter(MESSAGES))
    mcap = next(cut.glob("*.mcap"))
    mcap.write_bytes(mcap.read_bytes()[:20_000])
    out = tmp_path / "demos"
    with pytest.raises(DataError) as caught:
        convert([bags], None, out)
    for path, reason in (
        (stale, "stream camera.front: newest sample is"),
        (empty, "no message on /franka_gripper/joint_states"),
        (cut, "not a readable bag"),
    ):
        assert any(str(path) in line and reason in line for line in caught.value.message.splitlines())
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".demos.partial", "bags"]
    assert all(obstacle(path) in caught.value.message for path in (stale, empty, cut))
    report = convert([bags], None, out, allow_skips=True)
    assert (report.episodes, len(report.skipped), report.bad, report.kept) == (2, 3, 3, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bags", "demos"]
    clean = convert(sorted((bags / "reach").iterdir())[:2], None, tmp_path / "clean")
    assert report.ticks == clean.ticks
    assert [bool(obstacle(path)) for path in sorted((bags / "reach").iterdir())] == [False, False, True, True, True]
    index = json.loads((out / "demos.json").read_text())
    assert [entry["source"] for entry in index["skipped"]] == [f"reach/{p.name}" for p in (stale, empty, cut)]


def test_another_embodiment_is_refused(bags, tmp_path) -> None:
    other = replace(ROBOT, policy=replace(ROBOT.policy, rate_hz=10))
    with pytest.raises(FingerprintError, match="rate_hz"):
        convert([bags], other, tmp_path / "demos", allow_skips=True)
    synthetic.record(bags, other, synthetic.messages(other, 1.0))
    with pytest.raises(FingerprintError):
        convert([bags], None, tmp_path / "demos", allow_skips=True)
    assert not (tmp_path / "demos").exists()


def test_what_is_no_bag_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="no bag here"):
        convert([tmp_path], None, tmp_path / "demos")
    with pytest.raises(DataError, match="no bag here"):
        convert([tmp_path / "absent"], None, tmp_path / "demos")


def test_damaged_sets_do_not_open(bags, tmp_path) -> None:
    out = tmp_path / "demos"
    convert([bags], None, out)
    with pytest.raises(DataError, match=r"no demos\.json"):
        Demos.open(bags)
    np.save(out / "state.npy", np.zeros((3, 8), np.float32))
    with pytest.raises(DataError, match="do not belong together"):
        Demos.open(out)
    (out / "state.npy").unlink()
    with pytest.raises(DataError, match=r"no state\.npy"):
        Demos.open(out)


def test_growing_file_is_a_plain_npy(tmp_path) -> None:
    path = tmp_path / "rows.npy"
    appender = NpyAppender(path, "<f4", (3,))
    for i in range(12):
        appender.append(np.full(3, i, np.float32))
    with pytest.raises(ValueError, match="float64"):
        appender.append(np.zeros(3))
    appender.close()
    assert np.load(path)[:, 0].tolist() == [*range(12)]
    merged = NpyAppender(tmp_path / "merged.npy", "<f4", (3,))
    merged.append(np.full(3, 99, np.float32))
    merged.extend(path, 2, 12)
    with pytest.raises(DataError, match="at least 13 rows"):
        merged.extend(path, 0, 13)
    merged.close()
    path = tmp_path / "merged.npy"
    assert np.load(path)[:, 0].tolist() == [99, *range(2, 12)]
    assert np.load(path, mmap_mode="r").shape == (11, 3)
