"""Depth images: what a sensor sent, or nothing; never a distance that it did not measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from synthetic import MS, START_NS

from hpt_ros.embodiment import DepthCamera
from hpt_ros.embodiment.schema import IMAGE
from hpt_ros.errors import StreamError
from hpt_ros.streams import Observer, StaleStreamError
from hpt_ros.streams.cdr import decode, typestore
from hpt_ros.streams.depth import depth_frame

ROBOT = synthetic.depth_embodiment(observation_horizon=2)
CAMERA = replace(ROBOT.depth[0], size_px=(8, 8))


def sized(height: int, width: int) -> DepthCamera:
    return replace(CAMERA, size_px=(height, width))


def test_millimetres_of_the_same_size_stay_as_they_are() -> None:
    sent = synthetic.depth_map(0, 8, 8)
    found = depth_frame(synthetic.image(START_NS, sent, "16UC1"), CAMERA)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, sent)


@pytest.mark.parametrize("padding", [0, 12])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_byte_order_and_row_padding_change_nothing(encoding: str, big_endian: bool, padding: int) -> None:
    millimetres = synthetic.depth_map(1, 8, 8)
    values = millimetres if encoding == "16UC1" else (millimetres / 1000).astype(np.float32)
    sent = values.astype(values.dtype.newbyteorder(">" if big_endian else "<"))
    found = depth_frame(synthetic.image(START_NS, sent, encoding, padding, big_endian), CAMERA)
    np.testing.assert_array_equal(found, millimetres)


@pytest.mark.parametrize(
    ("metres", "millimetres"),
    [
        (0.4996, 500),
        (0.0004, 0),
        (65.535, 65535),
        (65.6, 0),
        (1e30, 0),
        (-0.2, 0),
        (np.nan, 0),
        (np.inf, 0),
        (-np.inf, 0),
        (0.0, 0),
    ],
)
@pytest.mark.filterwarnings("error")
def test_metres_are_rounded_and_what_is_no_distance_becomes_not_measured(metres: float, millimetres: int) -> None:
    sent = np.full((8, 8), metres, np.float32)
    assert (depth_frame(synthetic.image(START_NS, sent, "32FC1"), CAMERA) == millimetres).all()


@given(
    sent=arrays.arrays(np.uint16, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    height=st.integers(8, 40),
    width=st.integers(8, 40),
)
def test_resizing_invents_no_depth(sent: np.ndarray, height: int, width: int) -> None:
    found = depth_frame(synthetic.image(START_NS, sent, "16UC1"), sized(height, width))
    assert found.shape == (height, width)
    assert np.isin(found, sent).all()


def test_a_pixel_comes_from_its_centre() -> None:
    sent = np.arange(24 * 40, dtype=np.uint16).reshape(24, 40)
    found = depth_frame(synthetic.image(START_NS, sent, "16UC1"), CAMERA)
    np.testing.assert_array_equal(found, sent[1::3, 2::5])


def test_the_crop_is_cut_before_the_resize() -> None:
    sent = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)
    camera = replace(CAMERA, crop_px=(4, 6, 8, 8))
    found = depth_frame(synthetic.image(START_NS, sent, "16UC1"), camera)
    np.testing.assert_array_equal(found, sent[4:12, 6:14])
    with pytest.raises(StreamError, match=r"camera near: the image is 10 x 40 px .* needs 12 x 14"):
        depth_frame(synthetic.image(START_NS, sent[:10], "16UC1"), camera)


@pytest.mark.parametrize("encoding", ["rgb8", "mono16", "16SC1", "32FC3"])
def test_another_encoding_is_refused(encoding: str) -> None:
    raw = synthetic.image(START_NS, synthetic.depth_map(0), encoding)
    with pytest.raises(StreamError, match=f"depth camera near: encoding '{encoding}' is not depth"):
        depth_frame(raw, CAMERA)


@pytest.mark.parametrize("wrong", [{"step": 15}, {"height": 9}, {"height": 0}, {"width": 0}, {"width": 9}])
def test_bytes_that_do_not_hold_the_image_are_refused(wrong: dict[str, int]) -> None:
    message = decode(synthetic.image(START_NS, synthetic.depth_map(0, 8, 8), "16UC1"), IMAGE)
    raw = bytes(typestore().serialize_cdr(replace(message, **wrong), IMAGE))
    with pytest.raises(StreamError, match=r"depth camera near: 128 bytes in rows of 1[56] do not hold"):
        depth_frame(raw, CAMERA)


def filled(without: str = "") -> Observer:
    observer = Observer(ROBOT)
    for key, _, raw in synthetic.messages(ROBOT, 0.6):
        if key not in ("command", without):
            observer.push(key, raw)
    return observer


def test_an_observation_holds_depth_with_its_history() -> None:
    tick_ns = START_NS + 400 * MS
    observation = filled().observe(tick_ns)
    assert {name: maps.shape for name, maps in observation.depth.items()} == {"near": (2, 12, 16), "far": (2, 12, 16)}
    period_ns, allowance_ns = round(1e9 / 30), 30 * MS
    for row, moment_ns in enumerate((tick_ns - ROBOT.policy.period_ns, tick_ns)):
        number = (moment_ns - allowance_ns - START_NS) // period_ns
        expected = synthetic.depth_map(number)[1::2, 1::2]
        np.testing.assert_array_equal(observation.depth["near"][row], expected)
        np.testing.assert_array_equal(observation.depth["far"][row], expected)
    assert observation.ages_ns["depth.near"] == observation.ages_ns["camera.front"]
    assert set(observation.images) == {"front", "wrist"}


def test_without_depth_there_is_no_observation() -> None:
    with pytest.raises(StaleStreamError, match=r"stream depth\.far: nothing received on /far/depth"):
        filled(without="depth.far").observe(START_NS + 400 * MS)
