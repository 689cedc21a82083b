"""What `hpt-ros bench record` compares the recorder with: raw subscriptions, `rclpy.spin`, and the writer of `rosbags`.

`python -m hpt_ros.benchmarks.record_plain BAG` records the topics of the load until SIGTERM; BAG must not exist.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from hpt_ros.benchmarks.record_load import number_of, sources
from hpt_ros.streams.cdr import typestore


def lost(bag: Path) -> int:
    """How many numbers are missing in it between the first and the last of each topic."""
    seen: dict[str, tuple[int, int, int]] = {}
    with Reader(bag) as reader:
        for connection, _, raw in reader.messages():
            number = number_of(bytes(raw[:64]))
            first, _, count = seen.get(connection.topic, (number, number, 0))
            seen[connection.topic] = (first, number, count + 1)
    return sum(last - first + 1 - count for first, last, count in seen.values())


def main() -> int:
    """Record until SIGTERM."""
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from hpt_ros.nodes.messages import message_class

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node, executor = rclpy.create_node("bench_plain"), SingleThreadedExecutor()
    executor.add_node(node)
    with Writer(Path(sys.argv[1]), version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for source in (*sources("robot"), *sources("cameras")):
            connection = writer.add_connection(source.topic, source.msgtype, typestore=typestore())
            node.create_subscription(
                message_class(source.msgtype),
                source.topic,
                lambda raw, to=connection: writer.write(to, time.time_ns(), raw),
                QoSProfile(depth=source.depth, reliability=ReliabilityPolicy.RELIABLE),
                raw=True,
            )
        while not stop.is_set():
            try:
                executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                break
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
