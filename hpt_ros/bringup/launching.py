"""A layout as a launch description; needs ROS 2's launch and launch_ros, which a ROS distribution has."""

from __future__ import annotations

from typing import Any

from hpt_ros.bringup.environment import transport_profile
from hpt_ros.bringup.layout import Process, Value, layout, namespace_of, ros_parameters
from hpt_ros.errors import ConfigError, MissingDependencyError


def launch_description(name: str) -> Any:
    """The `LaunchDescription` that `launch/<name>.launch.py` returns.

    Raises:
        MissingDependencyError: launch or launch_ros is not installed.
    """
    try:
        from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable

        from launch import LaunchDescription
    except ImportError as error:
        raise MissingDependencyError(
            f"launch files need ROS 2's launch ({error})",
            f"install the ROS package ros2launch, or run: hpt-ros up {name}",
        ) from error
    chosen = layout(name)
    return LaunchDescription(
        [SetEnvironmentVariable(name, value) for name, value in transport_profile().items()]
        + [DeclareLaunchArgument(a.name, default_value=a.default, description=a.description) for a in chosen.arguments]
        + [OpaqueFunction(function=_nodes, args=[name])]
    )


def _nodes(context: Any, name: str) -> list[Any]:
    chosen = layout(name)
    values = chosen.resolve({a.name: context.launch_configurations[a.name] for a in chosen.arguments})
    cameras = [item for item in str(values.get("cameras", "")).split(",") if item]
    return [_camera(item, namespace_of(values)) for item in cameras] + [
        _node(process, values) for process in chosen.active(values)
    ]


def _node(process: Process, values: dict[str, Value]) -> Any:
    from launch.actions import Shutdown
    from launch_ros.actions import Node

    return Node(
        package="hpt_ros",
        executable=process.executable,
        name=process.executable,
        output="screen",
        on_exit=Shutdown(reason=f"{process.executable} ended"),
        namespace=namespace_of(values),
        parameters=[ros_parameters(process, values)],
    )


def _camera(item: str, namespace: str) -> Any:
    """A RealSense whose topics are /<name>/<name>/color/image_raw, as the presets have them; `item` is name:serial."""
    from launch_ros.actions import Node

    name, separator, serial = item.partition(":")
    if not (separator and serial):
        raise ConfigError("cameras", item, "name:serial, such as front:123456789012")
    return Node(
        package="realsense2_camera",
        executable="realsense2_camera_node",
        name=name,
        namespace=f"{namespace}/{name}",
        output="screen",
        # the driver takes a serial number for a number unless it begins with an underscore
        parameters=[{"serial_no": f"_{serial.lstrip('_')}", "rgb_camera.color_profile": "640x480x30"}],
    )
