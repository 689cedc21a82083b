"""The size in which a policy sees a frame."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from hpt_ros.embodiment import load_embodiment
from hpt_ros.streams.decode import fitted

CAMERA = load_embodiment("sim_panda").cameras[0]
SIDES = st.tuples(st.integers(8, 90), st.integers(8, 90))


@given(SIDES, SIDES)
@example((480, 640), (224, 224))
@example((448, 448), (224, 224))
@example((480, 448), (224, 224))
@example((224, 500), (224, 224))
@example((480, 100), (224, 224))
def test_frames_are_averaged_over_areas_bit_for_bit_as_opencv_does(
    found: tuple[int, int], wanted: tuple[int, int]
) -> None:
    image = np.random.default_rng(found).integers(0, 256, (*found, 3), dtype=np.uint8)
    frame = fitted(image, replace(CAMERA, crop_px=None, size_px=wanted))
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    np.testing.assert_array_equal(frame, cv2.resize(image, wanted[::-1], interpolation=cv2.INTER_AREA))
