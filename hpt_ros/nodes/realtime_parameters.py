"""What a node with a control thread asks the system for: `realtime_priority`, `lock_memory`."""

from __future__ import annotations

import threading

from hpt_ros.configuration import check
from hpt_ros.control.realtime import HIGHEST_PRIORITY, lock_memory, permissions, permitted_priority, run_first
from hpt_ros.errors import HptRosError
from hpt_ros.nodes.runtime import HptNode


def ask_for_realtime(node: HptNode, thread: threading.Thread) -> None:
    """Declare both parameters and do as they say for the running `thread`; on a refusal the node is closed.

    Raises:
        ConfigError: no such priority.
        RealtimeRefused: the user may not.
    """
    priority = node.declare_parameter("realtime_priority", 0).value
    try:
        allowed = f"-1 (as permitted), 0 (off) to {HIGHEST_PRIORITY}"
        check(-1 <= priority <= HIGHEST_PRIORITY, "realtime_priority", priority, allowed)
        if priority < 0:
            priority = permitted_priority()
            node.get_logger().info(f"realtime_priority: {priority} ({permissions()})")
        if node.declare_parameter("lock_memory", False).value:
            lock_memory()
        if priority:
            run_first(thread, priority)
    except HptRosError:
        node.close()
        raise
