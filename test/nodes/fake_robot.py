"""Publishes what sim_panda's embodiment expects, without physics; on SIGUSR1 it begins to fail as --freeze and --halve say.

`fake_robot.py [--without TOPIC]... [--size H W] [--best-effort TOPIC]... [--freeze TOPIC]... [--halve TOPIC]... [--failing]`
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from typing import Any

import numpy as np
import rclpy
import synthetic
from rclpy.qos import QoSProfile, ReliabilityPolicy

from hpt_ros.embodiment import load_embodiment
from hpt_ros.nodes.messages import message_class

FRAMES = 8  # a camera that lives never shows the same twice in a row


def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--without", "--best-effort", "--freeze", "--halve"):
        parser.add_argument(option, action="append", default=[])
    parser.add_argument("--failing", action="store_true", help="from the start")
    parser.add_argument("--size", type=int, nargs=2, default=(48, 64))
    args = parser.parse_args()
    failing = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: failing.set())
    if args.failing:
        failing.set()
    robot = load_embodiment("sim_panda")
    pictures = [synthetic.frame(i, *args.size) for i in range(FRAMES)]
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node("fake_robot")
    specs = [s for s in (*robot.streams(), robot.command_stream()) if s.topic not in args.without]
    publishers = {
        s.key: node.create_publisher(message_class(s.msgtype), s.topic, qos(s.topic in args.best_effort)) for s in specs
    }
    due = dict.fromkeys(publishers, time.monotonic())
    count = 0
    while rclpy.ok():
        now = time.monotonic()
        for spec in specs:
            while now >= due[spec.key]:
                slow = failing.is_set() and spec.topic in args.halve
                due[spec.key] += (2 if slow else 1) / spec.rate_hz
                frozen = failing.is_set() and spec.topic in args.freeze
                picture = pictures[0 if frozen else count % FRAMES]
                count += not frozen
                publishers[spec.key].publish(message(robot, spec.key, time.time_ns(), picture))
        time.sleep(0.0005)


def qos(best_effort: bool) -> QoSProfile:
    reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
    return QoSProfile(depth=10, reliability=reliability)


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
