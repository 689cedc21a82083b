"""ROS 2 nodes: parameters and wiring."""
