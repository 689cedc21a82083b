from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.errors import DataError
from hpt_ros.evaluation.scene import References, difference, overlay, scene_picture, write_image, write_page


def scene(left: int) -> np.ndarray:
    image = np.full((48, 64, 3), 90, np.uint8)
    image[20:30, left : left + 10] = (220, 60, 30)
    return image


def test_what_has_moved_is_seen_and_told():
    here, there = scene(10), scene(40)
    assert difference(here, here) == 0.0
    assert difference(here, there) > 3 > difference(here, scene(11))
    same, moved = overlay(here, here), overlay(here, there)
    yellow = (255, 255)
    assert (same[19:31, 9:21, :2] == yellow).all(axis=2).any(), "edges that meet"
    assert not (moved[..., :2] == yellow).all(axis=2).any()


def test_a_row_for_each_camera_with_or_without_reference():
    now = {"front": scene(10), "wrist": scene(20)}
    alone, beside = scene_picture({}, now), scene_picture({"front": scene(12)}, now)
    assert beside.shape[0] == alone.shape[0]
    assert beside.shape[1] == 3 * alone.shape[1]


def test_the_first_start_of_a_block_is_its_reference_for_good(tmp_path):
    references = References(tmp_path / "scenes")
    assert references.of(3, ("front", "wrist")) == {}
    references.keep(3, {"front": scene(10)})
    references.keep(3, {"front": scene(40)})
    found = References(tmp_path / "scenes").of(3, ("front", "wrist"))
    assert list(found) == ["front"]
    np.testing.assert_array_equal(found["front"], scene(10))
    assert references.of(4, ("front",)) == {}


def test_references_from_an_earlier_evaluation_or_one_picture(tmp_path):
    write_image(tmp_path / "old" / "0000_front.png", scene(10))
    references = References(tmp_path / "new", tmp_path / "old")
    np.testing.assert_array_equal(references.of(0, ("front",))["front"], scene(10))
    single = References(tmp_path / "new", tmp_path / "old" / "0000_front.png")
    assert set(single.of(7, ("front", "wrist"))) == {"front", "wrist"}


def test_a_reference_that_is_none_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png"):
        References(tmp_path / "scenes", tmp_path / "text.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no PNG"):
        References(tmp_path / "scenes", tmp_path / "empty")


def test_the_page_shows_the_picture_beside_it(tmp_path):
    write_page(tmp_path / "scene.html", tmp_path / "scene.png", "pick <up>")
    text = (tmp_path / "scene.html").read_text()
    assert 'src="scene.png"' in text
    assert "pick &lt;up&gt;" in text
