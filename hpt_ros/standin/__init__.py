"""A stand-in for the robot's side: the simulated Panda behind controllers, gripper and robot state that behave as the real ones."""
