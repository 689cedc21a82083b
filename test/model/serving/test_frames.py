from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hpt_ros.model.serving import FrameCache

CPU = torch.device("cpu")


class Encoder:
    """Features that tell every pixel and the camera apart; counts what it is given."""

    def __init__(self) -> None:
        self.given: list[dict[str, int]] = []
        self.fails = False

    def __call__(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.fails:
            raise RuntimeError("no features")
        self.given.append({name: len(frames) for name, frames in images.items()})
        return {name: _features(name, frames) for name, frames in images.items()}


def _features(camera: str, frames: Tensor) -> Tensor:
    weights = torch.arange(1, frames[0].numel() + 1, dtype=torch.float64) + len(camera)
    return (frames.flatten(1).double() @ weights)[:, None, None]


def _frame(value: int) -> np.ndarray:
    """Frames that differ in one byte only."""
    frame = np.full((2, 3, 3), 7, np.uint8)
    frame[1, 2, 2] = value
    return frame


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3), max_size=8))
def test_features_are_those_of_encoding_everything(windows: list[list[tuple[int, int]]]) -> None:
    """Whatever repeats, comes back, is reordered or missing, and whoever writes into the arrays afterwards."""
    encoder = Encoder()
    cache = FrameCache(encoder, CPU)
    total = 0
    for window in windows:
        images = {name: np.stack([_frame(w[i]) for w in window]) for i, name in enumerate(("left", "front"))}
        expected = {name: _features(name, torch.from_numpy(frames)) for name, frames in images.items()}
        found = cache.features(images)
        for name, frames in images.items():
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
            frames[:] = 99
        total += 2 * len(window)
    assert cache.encoded == sum(sum(call.values()) for call in encoder.given)
    assert cache.encoded + cache.reused == total


def test_only_new_frames_are_encoded_all_cameras_in_one_call() -> None:
    encoder = Encoder()
    cache = FrameCache(encoder, CPU)
    windows = [((0, 1), (5, 5)), ((1, 2), (5, 6)), ((2, 1), (5, 6)), ((0, 2), (6, 6))]
    for left, right in windows:
        cache.features({"left": np.stack([*map(_frame, left)]), "right": np.stack([*map(_frame, right)])})
    first, moved_on, dropped = {"left": 2, "right": 1}, {"left": 1, "right": 1}, {"left": 1}
    assert encoder.given == [first, moved_on, dropped]


def test_same_pixels_of_another_camera_are_encoded_for_it() -> None:
    encoder = Encoder()
    found = FrameCache(encoder, CPU).features({"a": _frame(1)[None], "longer": _frame(1)[None]})
    assert encoder.given == [{"a": 1, "longer": 1}]
    assert not torch.equal(found["a"], found["longer"])


def test_failure_leaves_nothing_wrong_behind() -> None:
    encoder = Encoder()
    cache = FrameCache(encoder, CPU)
    cache.features({"a": _frame(1)[None]})
    encoder.fails = True
    with pytest.raises(RuntimeError, match="no features"):
        cache.features({"a": _frame(2)[None]})
    encoder.fails = False
    found = cache.features({"a": _frame(2)[None]})["a"]
    torch.testing.assert_close(found, _features("a", torch.from_numpy(_frame(2)[None])))
    cache.clear()
    cache.features({"a": _frame(2)[None]})
    assert len(encoder.given) == 3
