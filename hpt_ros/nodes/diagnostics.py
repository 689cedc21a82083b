"""Status messages as `/diagnostics`, which rqt, Foxglove and a robot's own monitoring already read."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from hpt_ros.nodes.runtime import RELIABLE_10

_LEVELS = {
    "IDLE": DiagnosticStatus.OK,
    "ENGAGING": DiagnosticStatus.OK,
    "RUNNING": DiagnosticStatus.OK,
    "RECORDING": DiagnosticStatus.OK,
    "HOMING": DiagnosticStatus.OK,
    "WAITING": DiagnosticStatus.WARN,
    "HOLDING": DiagnosticStatus.WARN,
    "STALE": DiagnosticStatus.STALE,
    "FAULT": DiagnosticStatus.ERROR,
    "ERROR": DiagnosticStatus.ERROR,
}


class Diagnostics:
    """Publishes what a node says of itself under one name.

    Args:
        hardware_id: which arm, for labs with several.
    """

    def __init__(self, node: Node, hardware_id: str) -> None:
        self._name, self._hardware_id = f"hpt_ros: {node.get_name()}", hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE_10)

    def publish(self, status: Any) -> None:
        """A status message of ours: `state` gives the level, `reason` the text, every other field a value."""
        entry = DiagnosticStatus(
            level=_LEVELS.get(status.state, DiagnosticStatus.WARN),
            name=self._name,
            message=f"{status.state}: {status.reason}" if status.reason else status.state,
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=_text(getattr(status, key))) for key in _fields(status)],
        )
        message = DiagnosticArray(status=[entry])
        message.header.stamp = status.header.stamp
        self._publisher.publish(message)


def _fields(status: Any) -> list[str]:
    return [name for name in status.get_fields_and_field_types() if name not in ("header", "state", "reason")]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value
    try:
        return ", ".join(_text(item) for item in value)
    except TypeError:
        return str(value)
