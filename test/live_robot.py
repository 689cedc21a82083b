"""The fake robot of test/nodes at rates that a busy machine keeps up with, for tests that record over real topics."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpt_ros.paths import config_dir

_TESTS = Path(__file__).parent


def slow_embodiment(folder: Path) -> Path:
    """sim_panda with joints at 50 Hz, gripper and cameras at 10 Hz, in a file."""
    text = (config_dir("embodiments") / "sim_panda.yaml").read_text()
    for found, slow in (
        ("rate_hz: 50,", "rate_hz: 10,"),
        ("rate_hz: 30,", "rate_hz: 10,"),
        ("rate_hz: 1000", "rate_hz: 50"),
    ):
        assert found in text
        text = text.replace(found, slow)
    path = folder / "slow_panda.yaml"
    path.write_text(text)
    return path


@contextmanager
def live_robot(ros_env: dict[str, str], embodiment: Path) -> Iterator[None]:
    """Every topic of the embodiment, published until the end."""
    paths = [str(_TESTS), str(_TESTS / "nodes"), str(_TESTS.parent)]
    environment = ros_env | {"PYTHONPATH": os.pathsep.join(paths)}
    child = subprocess.Popen([sys.executable, __file__, str(embodiment)], env=environment)
    try:
        yield
    finally:
        child.kill()
        child.wait()


def wait_until_recordable(session: Any) -> None:
    """Until the recorder hears every topic that it needs, and complains of none."""

    def flowing() -> bool:
        status = session.latest.get("recorder")
        if status is None or status.warnings:
            return False
        return all(
            not expected or rate > 5.0 for rate, expected in zip(status.rates_hz, status.expected_hz, strict=True)
        )

    session.wait_for("messages on every topic", flowing, 60.0)


def main() -> None:
    import fake_robot
    import rclpy
    import synthetic
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from hpt_ros.embodiment import load_embodiment
    from hpt_ros.nodes.messages import message_class

    robot = load_embodiment(sys.argv[1])
    pixels = synthetic.frame(0, 48, 64)
    rclpy.init()
    node = rclpy.create_node("live_robot")
    specs = [*robot.streams(), robot.command_stream()]
    qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
    publishers = {s.key: node.create_publisher(message_class(s.msgtype), s.topic, qos) for s in specs}
    due = dict.fromkeys(publishers, time.monotonic())
    while rclpy.ok():
        now = time.monotonic()
        for spec in specs:
            if now >= due[spec.key]:
                due[spec.key] += 1 / spec.rate_hz
                publishers[spec.key].publish(fake_robot.message(robot, spec.key, time.time_ns(), pixels))
        time.sleep(0.002)


if __name__ == "__main__":
    main()
