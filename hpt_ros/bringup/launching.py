"""A layout as a launch description; needs ROS 2's launch and launch_ros, which a ROS distribution has."""

from __future__ import annotations

from typing import Any

from hpt_ros.bringup.environment import transport_profile
from hpt_ros.bringup.layout import Process, Value, layout, ros_parameters
from hpt_ros.errors import MissingDependencyError


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
    return [_node(process, values) for process in chosen.active(values)]


def _node(process: Process, values: dict[str, Value]) -> Any:
    from launch.actions import Shutdown
    from launch_ros.actions import Node

    return Node(
        package="hpt_ros",
        executable=process.executable,
        name=process.executable,
        output="screen",
        on_exit=Shutdown(reason=f"{process.executable} ended"),
        parameters=[ros_parameters(process, values)],
    )
