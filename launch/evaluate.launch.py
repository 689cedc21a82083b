"""ros2 launch hpt_ros evaluate.launch.py: see hpt_ros/bringup/layout.py for the processes and their arguments."""

from hpt_ros.bringup.launching import launch_description


def generate_launch_description():
    return launch_description("evaluate")
