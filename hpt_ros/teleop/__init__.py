"""From a person's device to joint targets: decoding, clutch, inverse kinematics inside the robot's limits. No ROS."""
