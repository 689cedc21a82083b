"""Presets of devices, and what is refused in their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpt_ros.configuration import from_mapping, to_mapping
from hpt_ros.errors import ConfigError
from hpt_ros.teleop.config import Device, devices, load_device


@pytest.mark.parametrize("name", ["hand", "joy", "keyboard", "leader", "pose", "spacemouse"])
def test_every_preset_is_read_and_written(name: str) -> None:
    assert name in devices()
    device = load_device(name)
    assert device.device == name
    assert from_mapping(Device, to_mapping(device)) == device
    assert device.driver, "a person wants to know what to start"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{device: joy}", r"device: found \['joy'\], allowed: exactly one of twist, axes, pose, leader"),
        ("{device: hand, twist: {topic: /t}}", "allowed: none"),
        ("{device: pose, pose: {topic: /p}}", r"buttons.deadman: .*clutch"),
        ("{device: mouse}", "allowed: one of 'spacemouse'"),
        ("{device: spacemouse, twist: {topic: /t}, timeout_s: 5}", r"timeout_s: found 5.0, allowed: 0.02 to 1"),
        ("{device: spacemouse, twist: {topic: /t}, speed: {linear_m_s: 9}}", r"speed.linear_m_s: found 9.0"),
        ("{device: joy, axes: {topic: /j, count: 2, axes: [{to: x, axis: 2}]}}", r"axes.count: found 2"),
        ("{device: joy, axes: {topic: /j, count: 2, axes: [{to: x}]}}", r"axes.axes\[0\].axis: .*an axis or a button"),
        (
            "{device: joy, axes: {topic: /j, count: 2, axes: [{to: x, axis: 0}]}, buttons: {topic: /j, home: 1, frame: 1}}",
            "a button of its own",
        ),
        ("{device: leader, leader: {topic: /l, names: [a], signs: [2], offsets_rad: [0]}}", r"leader.signs"),
        ("{device: leader, leader: {topic: /l, names: [a], signs: [1], offsets_rad: []}}", r"1 offsets"),
        (
            "{device: leader, leader: {topic: /l, names: [a], signs: [1], offsets_rad: [0]}, buttons: {topic: /j, home: 1}}",
            "the leader says where the arm is",
        ),
        ("{device: pose, pose: {topic: /p, device_to_base_wxyz: [1, 1, 0, 0]}}", "a unit quaternion"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "device.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_device(file)


def test_an_unknown_preset_names_the_others() -> None:
    with pytest.raises(ConfigError, match="hand, joy, keyboard, leader, pose, spacemouse"):
        load_device("wheel")
