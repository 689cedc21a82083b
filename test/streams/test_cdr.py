"""Stamps from bytes, and what is decoded from them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import synthetic

from hpt_ros.embodiment import Camera
from hpt_ros.embodiment.schema import COMMAND, Timing
from hpt_ros.errors import StreamError
from hpt_ros.streams import header_stamp_ns
from hpt_ros.streams.cdr import decode
from hpt_ros.streams.decode import camera_frame, command_positions, joint_positions

STAMP_NS = 1_700_000_000_123_456_789
TIMING = Timing(rate_hz=30, max_age_s=0.25, allowance_s=0.03)


def camera(transport="raw", crop_px=None, size_px=(24, 32)) -> Camera:
    return Camera("front", "/front", transport, size_px, TIMING, crop_px)


@pytest.mark.parametrize("little_endian", [True, False])
def test_stamp_and_values_do_not_depend_on_byte_order(little_endian) -> None:
    raw = synthetic.joint_state(STAMP_NS, {"b": 2.0, "a": 1.0, "c": 3.0}, little_endian)
    assert header_stamp_ns(raw) == STAMP_NS
    assert joint_positions(raw, ["a", "c"]).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\x01\x00\x00\x01\x00\x00\x00",
        b"not CDR, but long enough",
        b"\x00\x01\x00\x00" + bytes(8),
        b"\x00\x01\x00\x00" + b"\xff" * 4 + bytes(4),
        b"\x00\x01\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff",
    ],
    ids=["empty", "short", "text", "zero stamp", "negative seconds", "too many nanoseconds"],
)
def test_bytes_without_a_usable_stamp_are_refused(raw) -> None:
    with pytest.raises(StreamError):
        header_stamp_ns(raw)


def test_missing_or_not_finite_joints_are_named() -> None:
    raw = synthetic.joint_state(STAMP_NS, {"a": 1.0, "b": float("nan")})
    with pytest.raises(StreamError, match=r"no position for c"):
        joint_positions(raw, ["a", "c"])
    with pytest.raises(StreamError, match=r"b = nan"):
        joint_positions(raw, ["a", "b"])
    with pytest.raises(StreamError, match="JointState"):
        joint_positions(raw[:40], ["a"])


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "conversion"),
    [
        ("rgb8", None),
        ("bgr8", cv2.COLOR_RGB2BGR),
        ("rgba8", cv2.COLOR_RGB2RGBA),
        ("bgra8", cv2.COLOR_RGB2BGRA),
    ],
)
def test_encodings_and_row_padding_give_the_same_rgb(encoding, conversion, padding) -> None:
    rgb = synthetic.frame(1)
    pixels = rgb if conversion is None else cv2.cvtColor(rgb, conversion)
    np.testing.assert_array_equal(camera_frame(synthetic.image(STAMP_NS, pixels, encoding, padding), camera()), rgb)


def test_grey_becomes_three_equal_channels() -> None:
    grey = synthetic.frame(1)[..., 0]
    for raw, transport in (
        (synthetic.image(STAMP_NS, grey, "mono8"), "raw"),
        (synthetic.compressed(STAMP_NS, grey, ".png"), "compressed"),
    ):
        np.testing.assert_array_equal(camera_frame(raw, camera(transport)), np.dstack([grey] * 3))


def test_compressed_colour_is_rgb() -> None:
    rgb = synthetic.frame(1)
    raw = synthetic.compressed(STAMP_NS, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), ".png")
    np.testing.assert_array_equal(camera_frame(raw, camera("compressed")), rgb)


def test_crop_comes_before_area_resize() -> None:
    rgb = synthetic.frame(1)
    frame = camera_frame(synthetic.image(STAMP_NS, rgb), camera(crop_px=(4, 8, 16, 16), size_px=(8, 8)))
    expected = rgb[4:20, 8:24].reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    assert np.abs(frame - expected).max() <= 0.5


def test_unusable_images_are_refused() -> None:
    with pytest.raises(StreamError, match=r"24 x 32 px.*needs 20 x 40"):
        camera_frame(synthetic.image(STAMP_NS, synthetic.frame(1)), camera(crop_px=(4, 8, 16, 32)))
    with pytest.raises(StreamError, match="cannot decode"):
        camera_frame(synthetic.image(STAMP_NS, synthetic.frame(1)[..., :2], "16UC1"), camera())
    with pytest.raises(StreamError, match="cannot decode"):
        camera_frame(synthetic.image(STAMP_NS, synthetic.frame(1)[:, :30], "rgba8"), camera())
    broken = synthetic.compressed(STAMP_NS, synthetic.frame(1)).replace(b"\xff\xd8", b"\x00\x00")
    with pytest.raises(StreamError, match="compressed"):
        camera_frame(broken, camera("compressed"))


def test_a_command_recorded_before_interventions_were_is_read() -> None:
    robot = synthetic.embodiment()
    values = np.linspace(0.0, 0.7, len(robot.action_names))
    new = synthetic.command(STAMP_NS, robot, values)
    old = new[:-1]  # the flag is the last byte
    with pytest.raises(StreamError):
        decode(old, COMMAND)
    for raw in (new, old):
        np.testing.assert_array_equal(command_positions(raw, robot.action_names), values)
