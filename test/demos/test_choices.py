"""Labels from the measured state, and streams that do not hold what the embodiment declares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from synthetic import MS, START_NS

from hpt_ros.demos import Demos, convert
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.errors import ConfigError, DataError

ROBOT = synthetic.embodiment(action_horizon=4)
MESSAGES = list(synthetic.messages(ROBOT, 1.5))
UNLED = [message for message in MESSAGES if message[0] != "command"]
NEXT_STATE = ConvertSettings(actions="next-state")


def test_next_state_labels_are_the_state_one_period_later(tmp_path) -> None:
    convert([synthetic.record(tmp_path / "bags", ROBOT, iter(UNLED))], None, tmp_path / "demos", NEXT_STATE)
    demos = Demos.open(tmp_path / "demos")
    np.testing.assert_array_equal(demos.command, demos.state)
    window = demos.window(3)
    np.testing.assert_array_equal(window.action, demos.state[4:8])
    stamps = demos.tick_ns[0] - 10 * MS  # the joints' allowance
    sampled = synthetic.joint_values(stamps // (5 * MS) * 5 * MS, 7).astype(np.float32)
    np.testing.assert_array_equal(demos.state[0, :7], sampled)
    assert "command" not in demos.sync


def test_next_state_reaches_as_far_as_every_stream(tmp_path) -> None:
    cut = [m for m in UNLED if m[0] != "gripper" or m[1] < START_NS + 1000 * MS]
    convert([synthetic.record(tmp_path / "bags", ROBOT, iter(cut))], None, tmp_path / "demos", NEXT_STATE)
    demos = Demos.open(tmp_path / "demos")
    end_ns = START_NS + (980 + 10) * MS  # the last gripper sample and its allowance
    assert end_ns - ROBOT.policy.period_ns < demos.tick_ns[-1] <= end_ns


def test_commands_are_not_read_for_next_state_labels(tmp_path) -> None:
    paused = [m for m in MESSAGES if m[0] != "command" or m[1] < START_NS + 200 * MS]
    bags = [synthetic.record(tmp_path / "bags", ROBOT, iter(m)) for m in (paused, UNLED)]
    convert(bags, None, tmp_path / "demos", NEXT_STATE)
    demos = Demos.open(tmp_path / "demos")
    half = len(demos) // 2
    np.testing.assert_array_equal(demos.state[:half], demos.state[half:])


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="next-state"):
        ConvertSettings(actions="previous")  # type: ignore[arg-type]


@pytest.mark.parametrize(("keep_every", "refused"), [(1, False), (2, True)])
def test_a_stream_far_below_its_declared_rate_is_refused(tmp_path, keep_every, refused) -> None:
    counted: dict[str, int] = {}

    def kept(key: str) -> bool:
        counted[key] = counted.get(key, 0) + 1
        return key != "camera.wrist" or counted[key] % keep_every == 0

    bag = synthetic.record(tmp_path / "bags", ROBOT, (m for m in MESSAGES if kept(m[0])))
    if not refused:
        assert convert([bag], None, tmp_path / "demos").episodes == 1
        return
    with pytest.raises(
        DataError, match=r"wrist_camera.* came at 15\.0 Hz, the embodiment declares 30 Hz -> .*--allow-slow"
    ):
        convert([bag], None, tmp_path / "demos")
    report = convert([bag], None, tmp_path / "demos", ConvertSettings(allow_slow=True))
    assert report.sync["camera.wrist"]["rate_hz"] == pytest.approx(15, rel=0.02)


def test_match_share_tells_of_ticks_without_a_sample(tmp_path) -> None:
    """Commands begin while the front camera pauses: the ticks until it comes back find nothing fresh."""
    begins_ms = {"camera.front": 590, "command": 300}
    first = {"camera.front": START_NS}
    pausing = [
        (key, at, raw)
        for key, at, raw in MESSAGES
        if at >= START_NS + begins_ms.get(key, 0) * MS or at == first.get(key)
    ]
    bag = synthetic.record(tmp_path / "bags", ROBOT, iter(pausing))
    report = convert([bag], None, tmp_path / "demos", ConvertSettings(allow_slow=True))
    assert report.sync["joints"]["match_share"] == 1.0
    demos = Demos.open(tmp_path / "demos")
    late = report.sync["camera.front"]["match_share"]
    assert 0.5 < late < 0.95
    missed = len(demos) / late - len(demos)
    assert missed == pytest.approx(round(missed), abs=0.01)


def test_only_what_a_tick_uses_is_decoded(tmp_path, monkeypatch) -> None:
    from hpt_ros.streams import cdr, decode

    decoded: list[str] = []

    def counting(raw: bytes, msgtype: str):
        decoded.append(msgtype)
        return cdr.decode(raw, msgtype)

    monkeypatch.setattr(decode, "decode", counting)
    slow = synthetic.embodiment(rate_hz=5)
    assert replace(slow, policy=ROBOT.policy) == ROBOT
    bag = synthetic.record(tmp_path / "bags", slow, iter(MESSAGES))
    ticks = convert([bag], None, tmp_path / "demos").ticks
    assert 5 <= ticks <= 8
    for msgtype, streams in (("JointState", 2), ("Image", 1), ("CompressedImage", 1), ("Command", 1)):
        assert decoded.count(f"{'hpt_ros' if msgtype == 'Command' else 'sensor_msgs'}/msg/{msgtype}") <= streams * ticks
