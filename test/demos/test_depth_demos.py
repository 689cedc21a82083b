"""Depth from the bag to the training batch: the same values as the live observer's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch

from hpt_ros.demos import Demos, convert
from hpt_ros.errors import DataError
from hpt_ros.streams import Observer
from hpt_ros.training.windows import Windows, all_episodes

ROBOT = synthetic.depth_embodiment(observation_horizon=2, action_horizon=4)
MESSAGES = list(synthetic.messages(ROBOT, 1.2))


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    root = tmp_path_factory.mktemp("depth")
    for _ in range(2):
        synthetic.record(root / "bags", ROBOT, iter(MESSAGES))
    convert([root / "bags"], None, root / "demos")
    return Demos.open(root / "demos")


def test_a_window_is_what_the_live_observer_sees(demos: Demos) -> None:
    live, waiting = Observer(ROBOT), [m for m in MESSAGES if m[0] != "command"]
    episode = demos.episodes[1]
    for i in range(episode.start + 1, episode.stop):
        while waiting and waiting[0][1] <= demos.tick_ns[i]:
            key, _, raw = waiting.pop(0)
            live.push(key, raw)
        observation, window = live.observe(int(demos.tick_ns[i])), demos.window(i)
        assert list(window.depth) == ["near", "far"]
        for name, maps in window.depth.items():
            assert maps.dtype == np.uint16
            np.testing.assert_array_equal(maps, observation.depth[name])
    assert all(maps.any() and not maps.all() for maps in demos.depth.values())


def test_history_before_the_start_repeats_the_first_tick(demos: Demos) -> None:
    start = demos.episodes[1].start
    np.testing.assert_array_equal(demos.window(start).depth["near"], demos.depth["near"][[start, start]])


def test_a_set_holds_depth_by_camera_and_stays_readable_in_place(demos: Demos) -> None:
    assert sorted(path.name for path in (demos.path / "depth").iterdir()) == ["far.npy", "near.npy"]
    for maps in demos.depth.values():
        assert (maps.dtype, maps.shape) == (np.uint16, (len(demos), 12, 16))
        assert isinstance(maps, np.memmap)
    assert demos.sync["depth.far"]["rate_hz"] == pytest.approx(30, rel=0.01)


def test_a_batch_stacks_the_depth_of_its_windows(demos: Demos) -> None:
    batch = Windows(all_episodes([demos])).batch([3, 0])
    assert {name: maps.dtype for name, maps in batch.depth.items()} == {"near": torch.uint16, "far": torch.uint16}
    np.testing.assert_array_equal(batch.depth["far"][0].numpy(), demos.window(3).depth["far"])
    np.testing.assert_array_equal(batch.depth["far"][1].numpy(), demos.window(0).depth["far"])


def test_a_damaged_set_is_refused(demos: Demos, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for path in demos.path.rglob("*.*"):
        target = copy / path.relative_to(demos.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    np.save(copy / "depth" / "near.npy", demos.depth["near"][:-1])
    with pytest.raises(DataError, match="do not belong together"):
        Demos.open(copy)
    (copy / "depth" / "near.npy").unlink()
    with pytest.raises(DataError, match=r"no near\.npy"):
        Demos.open(copy)


def test_colour_where_depth_is_declared_leaves_no_demonstration(tmp_path: Path) -> None:
    wrong = [
        (key, at, synthetic.image(at, synthetic.frame(0)) if key == "depth.near" else raw) for key, at, raw in MESSAGES
    ]
    synthetic.record(tmp_path / "bags", ROBOT, iter(wrong))
    with pytest.raises(DataError, match=r"stream depth.near \(/near/depth\): .*'rgb8' is not depth"):
        convert([tmp_path / "bags"], None, tmp_path / "demos")
    assert not (tmp_path / "demos").exists()
