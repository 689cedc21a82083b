"""Which robot can be brought back after an error, and by what."""

from __future__ import annotations

from rclpy.node import Node

from hpt_ros.control.recovery import RecoveryPort
from hpt_ros.embodiment import Embodiment
from hpt_ros.nodes.backends.franka_recovery import FrankaRecovery


def make_recovery(node: Node, embodiment: Embodiment) -> RecoveryPort | None:
    """The port that `recovery` describes; None if the embodiment has nothing to recover with."""
    return FrankaRecovery(node, embodiment.recovery) if embodiment.recovery else None
