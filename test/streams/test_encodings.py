"""Cameras: one colour through every encoding, and what cannot be understood."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import synthetic
from pictures import BAYER, ENCODINGS, HALF_CHROMA, PACKED, YUV422, picture
from synthetic import START_NS

from hpt_ros.embodiment.schema import IMAGE
from hpt_ros.errors import StreamError
from hpt_ros.streams.cdr import decode, typestore
from hpt_ros.streams.decode import camera_frame, rgb_image

CAMERA = synthetic.embodiment().cameras[0]
RED, GREEN, BLUE = COLOUR = (200, 100, 50)
Y, U, V = 124, 90, 176  # of COLOUR in ITU-R BT.601, limited range
HEIGHT, WIDTH = 8, 12


def one_colour(encoding: str) -> np.ndarray[Any, Any]:
    """The samples of an image that is COLOUR all over."""
    dtype, factor = (np.uint16, 257) if encoding.endswith("16") else (np.uint8, 1)
    levels = {"r": RED, "g": GREEN, "b": BLUE, "a": 7}
    if encoding in PACKED:
        pixel = [levels[channel] * factor for channel in encoding.rstrip("0168")]
        return np.full((HEIGHT, WIDTH, len(pixel)), pixel, dtype)
    if encoding in BAYER:
        tile = np.array([levels[channel] * factor for channel in encoding[6:10]], dtype).reshape(2, 2)
        return np.tile(tile, (HEIGHT // 2, WIDTH // 2))
    if encoding in YUV422:
        pair = [[Y, U], [Y, V]] if encoding.startswith(("yuyv", "yuv422_")) else [[U, Y], [V, Y]]
        return np.tile(np.array(pair, np.uint8), (HEIGHT, WIDTH // 2, 1))
    if encoding in HALF_CHROMA:
        chroma = [U, V] if encoding == "nv12" else [V, U]
        return np.vstack([np.full((HEIGHT, WIDTH), Y), np.tile(chroma, (HEIGHT // 2, WIDTH // 2))]).astype(np.uint8)
    return np.full((HEIGHT, WIDTH), GREEN * factor, dtype)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_colour_is_the_same_in_every_encoding(encoding: str, big: bool, padding: int) -> None:
    image = rgb_image(picture(START_NS, one_colour(encoding), encoding, padding, big), IMAGE)
    expected = (GREEN,) * 3 if encoding.startswith("mono") else COLOUR
    assert (image.shape, image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    np.testing.assert_allclose(image.astype(int), np.broadcast_to(expected, image.shape), atol=2)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("grey", [False, True])
def test_compressed_images_have_their_colour(extension: str, grey: bool) -> None:
    bgr = np.full((HEIGHT, WIDTH), GREEN, np.uint8) if grey else np.full((HEIGHT, WIDTH, 3), COLOUR[::-1], np.uint8)
    image = rgb_image(synthetic.compressed(START_NS, bgr, extension), "sensor_msgs/msg/CompressedImage")
    expected = (GREEN,) * 3 if grey else COLOUR
    np.testing.assert_allclose(image.astype(int), np.broadcast_to(expected, (HEIGHT, WIDTH, 3)), atol=3)


@pytest.mark.parametrize("encoding", ["8UC1", "8UC3", "8SC3", "16UC1", "32FC1", "32FC3", "nv24", ""])
def test_an_encoding_that_names_no_colours_is_refused(encoding: str) -> None:
    raw = synthetic.image(START_NS, np.zeros((HEIGHT, WIDTH, 12), np.uint8), encoding)
    with pytest.raises(StreamError, match="cannot decode the image: .*" + encoding) as caught:
        camera_frame(raw, CAMERA)
    assert "rgb8" in caught.value.remedy


WRONG = [{"height": 0}, {"width": 0}, {"step": 35}, {"step": 0}, {"height": 9}, {"width": 13}]


@pytest.mark.parametrize("wrong", WRONG)
def test_bytes_that_do_not_hold_the_image_are_refused(wrong: dict[str, int]) -> None:
    message = replace(decode(synthetic.image(START_NS, one_colour("rgb8")), IMAGE), **wrong)
    with pytest.raises(StreamError, match=r"288 bytes in rows of \d+ do not hold \d+ x \d+ px of rgb8"):
        camera_frame(bytes(typestore().serialize_cdr(message, IMAGE)), CAMERA)


@pytest.mark.parametrize("encoding", ["yuyv", "nv12"])
def test_chroma_for_half_a_pixel_is_refused(encoding: str) -> None:
    raw = picture(START_NS, one_colour(encoding)[:, :-1], encoding)
    with pytest.raises(StreamError, match="cannot decode the image"):
        camera_frame(raw, CAMERA)


def test_a_torn_png_is_refused() -> None:
    message = decode(synthetic.compressed(START_NS, synthetic.frame(0), ".png"), "sensor_msgs/msg/CompressedImage")
    torn = replace(message, data=message.data[:20])
    raw = bytes(typestore().serialize_cdr(torn, "sensor_msgs/msg/CompressedImage"))
    with pytest.raises(
        StreamError, match=r"cannot decode the compressed image \(20 bytes beginning with 89 50 4e 47\)"
    ):
        rgb_image(raw, "sensor_msgs/msg/CompressedImage")
    assert cv2.imdecode(message.data, cv2.IMREAD_COLOR) is not None
