"""How commands reach the arm and the gripper: one publisher or action each, reliable, newest only."""

from hpt_ros.nodes.backends.arm import ArmBackend, NoArm, make_arm_backend
from hpt_ros.nodes.backends.gripper import GripperWorker, make_gripper_worker
from hpt_ros.nodes.backends.recovery import make_recovery

__all__ = ["ArmBackend", "GripperWorker", "NoArm", "make_arm_backend", "make_gripper_worker", "make_recovery"]
