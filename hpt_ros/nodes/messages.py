"""ROS message classes by the names that bags use (`sensor_msgs/msg/Image`)."""

from __future__ import annotations

import importlib
from typing import Any

from hpt_ros.errors import MissingDependencyError


def message_class(name: str) -> Any:
    """The Python class of a message type.

    Raises:
        MissingDependencyError: its package is not installed.
    """
    package, _, short = name.replace("/msg/", "/").partition("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), short)
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"message type {name} is not installed", f"install the ROS package {package}"
        ) from error


def set_time(message: Any, nanoseconds: int) -> None:
    """Fill a builtin_interfaces Time or Duration."""
    message.sec, message.nanosec = divmod(nanoseconds, 10**9)
