"""Publishes what sim_panda's embodiment expects, without physics: `fake_robot.py [--without TOPIC]... [--size H W]`."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import rclpy
import synthetic
from rclpy.qos import QoSProfile, ReliabilityPolicy

from hpt_ros.embodiment import load_embodiment
from hpt_ros.nodes.messages import message_class


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--size", type=int, nargs=2, default=(48, 64))
    args = parser.parse_args()
    robot = load_embodiment("sim_panda")
    pixels = synthetic.frame(0, *args.size)
    rclpy.init()
    node = rclpy.create_node("fake_robot")
    specs = [s for s in (*robot.streams(), robot.command_stream()) if s.topic not in args.without]
    qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
    publishers = {s.key: node.create_publisher(message_class(s.msgtype), s.topic, qos) for s in specs}
    due = dict.fromkeys(publishers, time.monotonic())
    while rclpy.ok():
        now = time.monotonic()
        for spec in specs:
            if now >= due[spec.key]:
                due[spec.key] += 1 / spec.rate_hz
                publishers[spec.key].publish(message(robot, spec.key, time.time_ns(), pixels))
        time.sleep(0.0005)


def message(robot: Any, key: str, stamp_ns: int, pixels: Any) -> bytes:
    if key == "joints":
        return synthetic.joint_state(stamp_ns, dict.fromkeys(robot.joints.names, 0.1))
    if key == "gripper":
        return synthetic.joint_state(stamp_ns, dict.fromkeys(robot.gripper.names, 0.02))
    if key == "command":
        return synthetic.command(stamp_ns, robot, np.full(8, 0.1))
    return synthetic.image(stamp_ns, pixels)


if __name__ == "__main__":
    main()
