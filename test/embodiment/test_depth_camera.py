from __future__ import annotations

from dataclasses import replace

import pytest

from hpt_ros.embodiment import (
    Embodiment,
    embodiment_from,
    embodiment_to,
    fingerprint,
    load_embodiment,
    require_same,
    tensor_contract,
)
from hpt_ros.errors import ConfigError, FingerprintError


@pytest.fixture
def robot() -> Embodiment:
    return load_embodiment("sim_panda_depth")


def test_the_preset_is_sim_panda_and_a_depth_camera(robot: Embodiment) -> None:
    base = load_embodiment("sim_panda")
    assert replace(robot, depth=(), name=base.name, description=base.description) == base
    assert [spec.key for spec in robot.streams()][-2:] == ["camera.wrist", "depth.wrist_depth"]
    assert robot.streams()[-1].msgtype == "sensor_msgs/msg/Image"
    assert embodiment_from(embodiment_to(robot)) == robot


def test_without_depth_the_contract_is_what_it_always_was(robot: Embodiment) -> None:
    assert "depth" not in tensor_contract(replace(robot, depth=()))
    assert fingerprint(replace(robot, depth=())) == "e2041fe138ab847c"


def test_the_contract_holds_what_shapes_depth_and_nothing_else(robot: Embodiment) -> None:
    (camera,) = robot.depth
    elsewhere = replace(robot, depth=(replace(camera, topic="/other", range_m=(0.2, 3.0)),))
    assert fingerprint(elsewhere) == fingerprint(robot)
    for other in (
        replace(camera, size_px=(32, 64)),
        replace(camera, crop_px=(0, 0, 10, 10)),
        replace(camera, name="x"),
    ):
        assert fingerprint(replace(robot, depth=(other,))) != fingerprint(robot)
    with pytest.raises(FingerprintError, match="depth: expected"):
        require_same(robot, replace(robot, depth=()), "the checkpoint", "the robot")


def test_names_and_topics_differ_from_those_of_colour(robot: Embodiment) -> None:
    (camera,) = robot.depth
    with pytest.raises(ConfigError, match="names that differ, those of depth included"):
        replace(robot, depth=(replace(camera, name="wrist"),))
    with pytest.raises(ConfigError, match="a topic of its own"):
        replace(robot, depth=(replace(camera, topic=robot.cameras[0].topic),))


@pytest.mark.parametrize("range_m", [(-0.1, 1.0), (1.0, 1.0), (0.1, 66.0)])
def test_a_range_that_uint16_millimetres_cannot_hold_is_refused(
    robot: Embodiment, range_m: tuple[float, float]
) -> None:
    with pytest.raises(ConfigError, match="range_m"):
        replace(robot.depth[0], range_m=range_m)
