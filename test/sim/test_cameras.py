"""Images show the scene; the camera thread draws the newest moment and never makes physics wait."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from hpt_ros.errors import ConfigError
from hpt_ros.sim.cameras import CameraThread, Image, Renderer
from hpt_ros.sim.scene import load_model
from hpt_ros.sim.world import World


def red(image: Image) -> np.ndarray:
    r, g, b = np.moveaxis(image.astype(int), -1, 0)
    return (r > 120) & (r > 2 * g) & (r > 2 * b)


def green(image: Image) -> np.ndarray:
    r, g, b = np.moveaxis(image.astype(int), -1, 0)
    return (g > 100) & (g > 1.4 * r) & (g > 1.4 * b)


def test_every_start_shows_the_cube_in_both_cameras_and_the_circle_only_in_push() -> None:
    world = World()
    renderer = Renderer(world.model, (96, 96))
    try:
        for task in ("reach", "push"):
            for seed in range(8):
                world.reset(task, seed)
                for name, image in renderer.render(world.snapshot(), ["front", "wrist"]).items():
                    assert image.shape == (96, 96, 3)
                    assert red(image).sum() >= 6, (task, seed, name)
                    assert (green(image).sum() > 4) == (task == "push"), (task, seed, name)
    finally:
        renderer.close()


def test_front_camera_looks_at_the_robot_from_ahead() -> None:
    """A cube on the robot's left (+y) is on the right of the image."""
    world = World()
    renderer = Renderer(world.model, (96, 96))
    try:
        columns = []
        for seed in range(12):
            world.reset("reach", seed)
            mask = red(renderer.render(world.snapshot(), ["front"])["front"])
            columns.append((world.cube_m[1], np.nonzero(mask)[1].mean()))
        y, column = np.transpose(columns)
        assert np.corrcoef(y, column)[0, 1] > 0.98
    finally:
        renderer.close()


def test_depth_is_the_distance_along_the_optical_axis() -> None:
    world = World()
    renderer = Renderer(world.model, (96, 96))
    try:
        for seed in range(6):
            world.reset("reach", seed)
            pictures = renderer.render(world.snapshot(), ["front", "front_depth", "wrist", "wrist_depth"])
            for name in ("front", "wrist"):
                depth = pictures[f"{name}_depth"]
                assert (depth.dtype, depth.shape) == (np.uint16, (96, 96))
                camera = renderer._data.camera(name)
                along_axis_m = (camera.xpos - world.cube_m) @ camera.xmat.reshape(3, 3)[:, 2]
                cube_mm = np.median(depth[red(pictures[name])])
                assert 0 <= 1000 * along_axis_m - cube_mm <= 40, "its surface lies up to 4 cm before its middle"
    finally:
        renderer.close()


def test_nothing_is_measured_where_nothing_is_seen() -> None:
    world = World()
    renderer = Renderer(world.model, (96, 96))
    try:
        depth = renderer.render(world.snapshot(), ["front_depth"])["front_depth"]
        assert (depth[:2, :20] == 0).all(), "above the horizon, beside the arm"
        assert (depth[60:] > 0).all(), "the table"
        assert renderer.render(world.snapshot(), ["front"])["front"].shape == (96, 96, 3)
    finally:
        renderer.close()


def test_thread_delivers_what_is_wanted_with_its_stamp() -> None:
    world = World()
    got: list[tuple[str, int, tuple[int, ...]]] = []
    delivered = threading.Event()

    def deliver(name: str, stamp_ns: int, image: Image) -> None:
        got.append((name, stamp_ns, image.shape))
        delivered.set()

    thread = CameraThread(world.model, ["front", "wrist"], (32, 40), lambda: ["wrist"], deliver)
    try:
        thread.offer(123, world.snapshot())
        assert delivered.wait(5.0)
        assert got == [("wrist", 123, (32, 40, 3))]
    finally:
        thread.stop()
    assert thread.failure is None


def test_slow_rendering_drops_old_moments_not_new_ones() -> None:
    world = World()
    stamps: list[int] = []

    def deliver(name: str, stamp_ns: int, image: Image) -> None:
        stamps.append(stamp_ns)
        time.sleep(0.05)

    thread = CameraThread(world.model, ["front"], (32, 32), lambda: ["front"], deliver)
    try:
        for stamp_ns in range(1, 11):
            began = time.monotonic()
            thread.offer(stamp_ns, world.snapshot())
            assert time.monotonic() - began < 0.04
            time.sleep(0.01)
        deadline = time.monotonic() + 5.0
        while stamps[-1:] != [10] and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        thread.stop()
    assert stamps[-1] == 10
    assert stamps == sorted(stamps)
    assert thread.dropped == 10 - len(stamps) > 0


def test_a_failure_to_deliver_is_kept_for_the_owner() -> None:
    world = World()

    def deliver(name: str, stamp_ns: int, image: Image) -> None:
        raise OSError("no such topic")

    thread = CameraThread(world.model, ["front"], (32, 32), lambda: ["front"], deliver)
    thread.offer(1, world.snapshot())
    deadline = time.monotonic() + 5.0
    while thread.failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    thread.stop()
    assert isinstance(thread.failure, OSError)


def test_unknown_camera_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="front, overview, wrist"):
        CameraThread(load_model(), ["ceiling"], (32, 32), list, lambda *_: None)
