"""What a demonstration set keeps of a camera: its own files, what the policy sees, or a JPEG of it; read as one array."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import synthetic
from synthetic import MS, START_NS

from hpt_ros.demos import Demos, convert
from hpt_ros.demos.align import align
from hpt_ros.demos.frames import EncodedFrames
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, fingerprint
from hpt_ros.errors import ConfigError, DataError, FingerprintError
from hpt_ros.streams.image_files import image_file

SECONDS = 1.2
WRIST = "sensor_msgs/msg/CompressedImage"


def robot(**wrist: Any) -> Embodiment:
    """A raw camera `front` and a compressed one `wrist`, with these changes to the latter."""
    data = embodiment_to(synthetic.embodiment(observation_horizon=2, action_horizon=4))
    data["cameras"][1] |= wrist
    return embodiment_from(data)


def wrist_message(stamp_ns: int, number: int) -> bytes:
    """JPEG and PNG, in colour and grey, in turn."""
    pixels = synthetic.frame(number)
    return synthetic.compressed(stamp_ns, pixels[..., 0] if number % 3 == 2 else pixels, (".jpg", ".png")[number % 2])


def messages(arm: Embodiment) -> list[tuple[str, int, bytes]]:
    found, number = [], 0
    for key, stamp_ns, raw in synthetic.messages(arm, SECONDS):
        if key == "camera.wrist":
            found.append((key, stamp_ns, wrist_message(stamp_ns, number)))
            number += 1
        else:
            found.append((key, stamp_ns, raw))
    return found


def converted(folder: Path, recorded: Embodiment, stream: list[Any], arm: Embodiment | None = None) -> Demos:
    bag = synthetic.record(folder / "bags", recorded, iter(stream))
    convert([bag], arm, folder / "demos", ConvertSettings(keep_idle=True))
    return Demos.open(folder / "demos")


@pytest.mark.parametrize("crop", [None, (2, 3, 20, 24)])
def test_a_compressed_camera_keeps_its_own_bytes_and_gives_the_pixels_that_the_policy_saw(tmp_path, crop) -> None:
    arm = robot(crop_px=crop)
    stream = messages(arm)
    demos = converted(tmp_path, arm, stream)
    wrist = demos.images["wrist"]
    assert isinstance(wrist, EncodedFrames)
    seen = list(align(((key, raw) for key, _, raw in stream), arm))
    assert len(seen) == len(demos) > 10
    sent = {image_file(raw).tobytes() for key, _, raw in stream if key == "camera.wrist"}
    for i, row in enumerate(seen):
        np.testing.assert_array_equal(demos.images["front"][i], row.observation.images["front"][-1])
        np.testing.assert_array_equal(wrist[i], row.observation.images["wrist"][-1])
        assert wrist.file(i).tobytes() in sent
    used = {wrist.file(i).tobytes() for i in range(len(demos))}
    assert (demos.path / "images" / "wrist.bin").stat().st_size == sum(map(len, used))
    assert len(used) < len(sent), "frames that no tick uses are not kept"


def test_a_frame_that_several_ticks_use_is_kept_once(tmp_path) -> None:
    slow = {"timing": {"rate_hz": 5.0, "max_age_s": 0.5, "allowance_s": 0.03}}
    arm = robot(**slow)
    wrist = converted(tmp_path, arm, messages(arm)).images["wrist"]
    assert isinstance(wrist, EncodedFrames)
    starts = [start for start, _ in wrist.spans]
    assert len(set(starts)) < len(starts) / 2
    assert wrist.spans[-1, 1] == sum(len(file) for file in {wrist.file(i).tobytes() for i in range(len(wrist))})


def test_it_reads_like_an_array(tmp_path) -> None:
    arm = robot()
    wrist = converted(tmp_path, arm, messages(arm)).images["wrist"]
    pixels = np.stack([wrist[i] for i in range(len(wrist))])
    assert (wrist.shape, wrist.dtype, wrist.ndim, len(wrist)) == (pixels.shape, np.uint8, 4, len(pixels))
    flags = np.arange(len(wrist)) % 3 == 0
    for key in (-1, np.int64(2), slice(2, 9, 3), [3, 3, 1], np.array([4, -1]), flags, slice(0, 0)):
        np.testing.assert_array_equal(wrist[key], pixels[key])
    np.testing.assert_array_equal(np.asarray(wrist), pixels)
    np.testing.assert_array_equal(list(wrist), pixels)
    with pytest.raises(IndexError):
        wrist[len(wrist)]


def test_a_tick_is_a_mapping_of_named_arrays(tmp_path) -> None:
    arm = robot()
    demos = converted(tmp_path, arm, messages(arm))
    sample, window = demos[3], demos.window(3)
    assert list(sample) == ["state", "image.front", "image.wrist", "action", "valid", "intervention"]
    np.testing.assert_array_equal(sample["image.wrist"], window.images["wrist"])
    np.testing.assert_array_equal(sample["action"], window.action)
    np.testing.assert_array_equal(demos[-1]["state"], demos.window(len(demos) - 1).state)
    assert sum(1 for _ in demos) == len(demos)


def test_a_frame_that_is_cut_off_fails_the_episode_with_topic_and_time(tmp_path) -> None:
    arm = robot()
    stream = messages(arm)
    numbers = [i for i, (key, *_) in enumerate(stream) if key == "camera.wrist"]
    for i in numbers[15:17]:  # of two in a row a tick uses one
        key, stamp_ns, raw = stream[i]
        file = image_file(raw)
        torn = synthetic._serialize(WRIST, stamp_ns, format="", data=file[: len(file) - 3].copy())
        stream[i] = (key, stamp_ns, torn)
    with pytest.raises(
        DataError, match=r"s after the first tick: stream camera\.wrist \(/.*\): cannot decode"
    ) as caught:
        converted(tmp_path, arm, stream)
    assert "bags/reach/" in caught.value.message


def test_a_lossy_store_is_what_the_policy_sees_live_too(tmp_path) -> None:
    recorded = robot()
    data = embodiment_to(recorded)
    for camera in data["cameras"]:
        camera["store"] = "jpeg:60"
    lossy = embodiment_from(data)
    assert fingerprint(lossy) != fingerprint(recorded)
    stream = messages(recorded)
    demos = converted(tmp_path, recorded, stream, lossy)
    assert demos.embodiment == lossy
    live = list(align(((key, raw) for key, _, raw in stream), lossy))
    exact = list(align(((key, raw) for key, _, raw in stream), recorded))
    for name in ("front", "wrist"):
        frames = demos.images[name]
        assert isinstance(frames, EncodedFrames)
        assert cv2.imdecode(frames.file(0), cv2.IMREAD_COLOR).shape == frames.shape[1:]
        for i, (one, other) in enumerate(zip(live, exact, strict=True)):
            np.testing.assert_array_equal(frames[i], one.observation.images[name][-1])
            assert (frames[i] != other.observation.images[name][-1]).any()
    other = replace(lossy, policy=replace(lossy.policy, rate_hz=10))
    with pytest.raises(FingerprintError, match="rate_hz"):
        convert([tmp_path / "bags"], other, tmp_path / "other")


@pytest.mark.parametrize("store", ["jpeg", "jpeg:0", "jpeg:101", "png", "jpeg:x", ""])
def test_stores_that_do_not_exist_are_refused(store) -> None:
    with pytest.raises(ConfigError, match=r"cameras\[1\]\.store: found .* allowed: lossless, or jpeg:1 to jpeg:100"):
        robot(store=store)


def test_sets_of_another_format_or_with_foreign_parts_are_refused(tmp_path) -> None:
    arm = robot()
    demos = converted(tmp_path, arm, messages(arm))
    blob = demos.path / "images" / "wrist.bin"
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"wrist\.bin: does not belong to wrist\.spans\.npy"):
        Demos.open(demos.path)
    blob.write_bytes(b"\0" * len(whole))
    with pytest.raises(DataError, match=r"wrist\.bin: row 1: cannot decode"):
        Demos.open(demos.path).window(2)
    index = json.loads((demos.path / "demos.json").read_text())
    (demos.path / "demos.json").write_text(json.dumps(index | {"format": 1}))
    with pytest.raises(DataError, match="format 1, expected 3: another version") as caught:
        Demos.open(demos.path)
    assert "hpt-ros convert BAGS" in caught.value.remedy


def test_ticks_without_a_usable_frame_do_not_matter_before_the_first_row(tmp_path) -> None:
    """A torn frame that no tick uses costs nothing."""
    arm = robot()
    stream = messages(arm)
    seen = list(align(((key, raw) for key, _, raw in stream), arm))
    used = {int(row.observation.tick_ns - row.observation.ages_ns["camera.wrist"]) for row in seen}
    unused = next(
        i for i, (key, t, _) in enumerate(stream) if key == "camera.wrist" and t not in used and t > START_NS + 300 * MS
    )
    key, stamp_ns, _ = stream[unused]
    stream[unused] = (key, stamp_ns, synthetic._serialize(WRIST, stamp_ns, format="", data=np.zeros(9, np.uint8)))
    assert len(converted(tmp_path, arm, stream)) == len(seen)
