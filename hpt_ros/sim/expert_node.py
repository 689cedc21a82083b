"""The scripted expert in a teleoperator's place: it sees the scene, and publishes chunks of targets like any other device."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from hpt_ros.configuration import check
from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import HptRosError
from hpt_ros.msg import SimStatus
from hpt_ros.nodes.chunk_publisher import ChunkPublisher
from hpt_ros.nodes.runtime import RELIABLE_1, HptNode, run_node
from hpt_ros.sim.expert import Plan, Sight, plan, sight

SOURCE = "teleop:expert"
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class NotReadyError(HptRosError):
    """The expert cannot start; says what it has not seen yet."""


class ExpertNode(HptNode):
    """Parameters and wiring: SimStatus and joint states -> plan -> /hpt_ros/action_chunk, between /start and /stop.

    Parameters: embodiment.
    """

    def __init__(self) -> None:
        super().__init__("expert_node")
        self.embodiment = load_embodiment(self.declare_parameter("embodiment", "sim_panda").value)
        gripper = self.embodiment.gripper
        check(gripper is not None, "gripper", None, "a gripper: the expert's last column is its width")
        self._status: Any = None
        self._joints: bytes | None = None
        self._plan: Plan | None = None
        self._plan_start_ns = self._episode = 0
        self.create_subscription(SimStatus, "/hpt_ros/sim/status", self._on_status, RELIABLE_1)
        self.create_subscription(JointState, self.embodiment.joints.topic, self._on_joints, _NEWEST, raw=True)
        self._chunks = ChunkPublisher(self, self.embodiment, SOURCE)
        self.create_service(Trigger, "/hpt_ros/expert/start", self._on_start)
        self.create_service(Trigger, "/hpt_ros/expert/stop", self._on_stop)
        self.create_timer(1 / self.embodiment.policy.rate_hz, self._tick)

    def _on_status(self, message: Any) -> None:
        self._status = message
        if self._plan and message.episode != self._episode:
            self._plan = None
            self.get_logger().warning("stopped: the scene was reset")

    def _on_joints(self, raw: bytes) -> None:
        self._joints = raw

    def _on_start(self, _: Any, response: Any) -> Any:
        try:
            status = self._seen()
            self._plan = plan(status.task, self._measured(), _sight(status), self.embodiment.safety.limits)
        except HptRosError as error:
            response.success, response.message = False, str(error)
            return response
        self._episode = status.episode
        self._plan_start_ns = self.get_clock().now().nanoseconds
        response.success, response.message = True, f"{status.task}: {self._plan.duration_s:.1f} s"
        return response

    def _on_stop(self, _: Any, response: Any) -> Any:
        response.success, response.message = True, "stopped" if self._plan else "was not running"
        self._plan = None
        return response

    def _seen(self) -> Any:
        if self._status is None:
            raise NotReadyError("no message on /hpt_ros/sim/status yet", "start the simulator (hpt-ros sim)")
        return self._status

    def _measured(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        if self._joints is None:
            raise NotReadyError(
                f"no message on {self.embodiment.joints.topic} yet", "start the simulator (hpt-ros sim)"
            )
        message = deserialize_message(self._joints, JointState)
        by_name = dict(zip(message.name, message.position, strict=True))
        return np.array([by_name[name] for name in self.embodiment.joints.names])

    def _tick(self) -> None:
        if self._plan is None:
            return
        policy, tick = self.embodiment.policy, self.get_clock().now()
        since_start_s = (tick.nanoseconds - self._plan_start_ns) * 1e-9
        rows = self._plan.rows(since_start_s, policy.period_ns * 1e-9, policy.action_horizon)
        self._chunks.publish(rows, tick)


def _sight(status: Any) -> Sight:
    position, orientation, goal = status.object.position, status.object.orientation, status.goal
    return sight(
        (position.x, position.y, position.z),
        (orientation.w, orientation.x, orientation.y, orientation.z),
        (goal.x, goal.y, goal.z),
    )


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(ExpertNode, args)


if __name__ == "__main__":
    sys.exit(main())
