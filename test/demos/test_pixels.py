"""The cache of decoded pixels: right, complete, made once, and never used for other images."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from hpt_ros.demos import Demos, convert, pixels
from hpt_ros.demos.frames import EncodedFrames
from hpt_ros.errors import DataError
from hpt_ros.training.windows import Windows, all_episodes

ROBOT = synthetic.embodiment(observation_horizon=2, action_horizon=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made(tmp_path, 0)
    return tmp_path / "demos"


def made(tmp_path: Path, shift: int) -> None:
    """A set whose frames are others for another `shift`."""
    stream, number = [], shift
    for key, stamp_ns, message in synthetic.messages(ROBOT, 1.2):
        raw = message
        if key == "camera.wrist":
            raw, number = synthetic.compressed(stamp_ns, synthetic.frame(number)), number + 1
        stream.append((key, stamp_ns, raw))
    bag = synthetic.record(tmp_path / f"bags{shift}", ROBOT, iter(stream))
    convert([bag], None, tmp_path / "demos", overwrite=True)


def cached(folder: Path) -> list[Path]:
    return sorted((folder.parent / f".{folder.name}.pixels").glob("*"))


def test_pixels_are_those_of_the_files_and_are_decoded_once(folder, monkeypatch) -> None:
    demos = Demos.open(folder)
    decoded = demos.decoded()
    for name in ("front", "wrist"):
        assert isinstance(decoded.images[name], np.ndarray)
        np.testing.assert_array_equal(decoded.images[name], np.asarray(demos.images[name]))
    assert [path.name.split("-")[0] for path in cached(folder)] == ["wrist"], "a raw camera needs none"
    one, other = (Windows(all_episodes([demos_])).batch(range(len(demos))) for demos_ in (demos, decoded))
    for name in one.images:
        assert (one.images[name] == other.images[name]).all()

    def refuse(*_: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(EncodedFrames, "_frame", refuse)
    again = Demos.open(folder).pixels("wrist")
    np.testing.assert_array_equal(again, decoded.images["wrist"])
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 0


def test_a_cache_of_other_images_is_never_used_and_goes(folder, tmp_path) -> None:
    before = np.array(Demos.open(folder).pixels("wrist"))
    (old,) = cached(folder)
    made(tmp_path, 100)
    demos = Demos.open(folder)
    np.testing.assert_array_equal(demos.pixels("wrist"), np.asarray(demos.images["wrist"]))
    assert (demos.pixels("wrist") != before).any()
    assert len(cached(folder)) == 1
    assert cached(folder) != [old]


@pytest.mark.parametrize("rest", [0, 100, 2000, "other rows"])
def test_what_is_left_of_an_interrupted_run_is_replaced(folder, rest) -> None:
    demos = Demos.open(folder)
    expected = np.array(demos.pixels("wrist"))
    (path,) = cached(folder)
    path.with_name(f"{path.name}.new").write_bytes(b"x")
    if rest == "other rows":
        np.save(path, expected[:-1])
    else:
        path.write_bytes(path.read_bytes()[:rest])
    np.testing.assert_array_equal(demos.pixels("wrist"), expected)
    assert cached(folder) == [path]


def test_of_two_at_once_one_decodes(folder, monkeypatch) -> None:
    filled, fill = [], pixels._fill
    monkeypatch.setattr(pixels, "_fill", lambda *facts: (filled.append(1), fill(*facts)))
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(Demos.open(folder).pixels("wrist"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(filled)) == (4, 1)
    for one in found:
        np.testing.assert_array_equal(one, found[0])


def test_no_room_and_unreadable_files_are_refused_and_leave_no_cache(folder, monkeypatch) -> None:
    demos = Demos.open(folder)
    with monkeypatch.context() as patch:
        patch.setattr(pixels, "_SPARE_BYTES", 1 << 60)
        with pytest.raises(DataError, match="GB needed"):
            demos.pixels("wrist")
    blob = folder / "images" / "wrist.bin"
    blob.write_bytes(b"\0" * blob.stat().st_size)
    with pytest.raises(DataError, match=r"wrist\.bin: row \d+: cannot decode"):
        Demos.open(folder).decoded()
    assert not [path for path in cached(folder) if path.suffix == ".npy"]
