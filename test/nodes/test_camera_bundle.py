"""Bundling by message_filters, where it is installed; its refusal where it is not."""

from __future__ import annotations

import sys

import pytest
import synthetic

from hpt_ros.errors import ConfigError, MissingDependencyError

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

MS = 1_000_000


def frame(milliseconds: int) -> bytes:
    return synthetic.image((1000 + milliseconds) * MS, synthetic.frame(0, 4, 4))


def test_without_message_filters_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpt_ros.nodes.camera_bundle import CameraBundle

    monkeypatch.setitem(sys.modules, "message_filters", None)
    with pytest.raises(MissingDependencyError, match=r"(?s)message_filters.*ros-\$ROS_DISTRO-message-filters"):
        CameraBundle(["front", "wrist"], lambda key, raw: None, 0.02)


def test_one_camera_is_no_bundle() -> None:
    from hpt_ros.nodes.camera_bundle import CameraBundle

    with pytest.raises(ConfigError, match="at least two cameras"):
        CameraBundle(["front"], lambda key, raw: None, 0.02)


def test_only_frames_that_belong_together_go_on() -> None:
    pytest.importorskip("message_filters", reason="needs ROS 2's message_filters, which has no wheel")
    from hpt_ros.nodes.camera_bundle import CameraBundle

    delivered: list[tuple[str, bytes]] = []
    bundle = CameraBundle(["front", "wrist"], lambda key, raw: delivered.append((key, raw)), 0.02)
    front, wrist = bundle.receiver("front"), bundle.receiver("wrist")
    front(frame(0))
    wrist(frame(33))  # the partner of a frame that never came
    assert delivered == []
    front(frame(38))
    assert delivered == [("front", frame(38)), ("wrist", frame(33))]
    wrist(frame(70))
    front(frame(66))
    assert bundle.sets == 2
    front(b"\x00\x01\x00\x00" + bytes(16))  # no stamp
    assert (bundle.sets, bundle.unreadable) == (2, 1)
