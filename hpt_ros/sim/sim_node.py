"""The simulated Panda on ROS 2 topics: names, types, rates and stamps of the real one."""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor  # type: ignore[import-untyped]
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

os.environ.setdefault(
    "LP_NUM_THREADS", "0"
)  # software rendering stays in the camera thread, one core is left to others

from hpt_ros.configuration import check
from hpt_ros.control.trajectory import Point
from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import HptRosError
from hpt_ros.msg import SimStatus
from hpt_ros.nodes.runtime import RELIABLE_1, RELIABLE_10, HptNode, run_node
from hpt_ros.sim.cameras import DEFAULT_SIZE_PX, CameraThread
from hpt_ros.sim.driver import Driver
from hpt_ros.sim.outlets import CameraOutlet, DepthOutlet, set_stamp
from hpt_ros.sim.world import World
from hpt_ros.srv import ResetScene

STREAM_TOPIC = "/joint_position_controller/commands"
_STATUS_RATE_HZ = 50.0
_CLOCK_RATE_HZ = 500.0
_WATCH_PERIOD_S = 0.2


class SimNode(HptNode):
    """Parameters and wiring: controller topics -> Driver(World) -> joint states, images, ground truth.

    Parameters: embodiment, task, seed, variation (of what the cameras see), speed (simulated seconds per second; other
    than 1.0 publishes /clock),
    disturbance (how far the arm is pushed about while it moves), image_height, image_width [px], camera_rate_hz (0: as the embodiment expects).
    """

    def __init__(self, name: str = "sim_node") -> None:
        super().__init__(name)
        self.embodiment = load_embodiment(self.declare_parameter("embodiment", "sim_panda").value)
        speed = self._number("speed", 1.0)
        check(0.01 <= speed <= 100, "speed", speed, "0.01 to 100")
        disturbance = self._number("disturbance", 0.0)
        check(0 <= disturbance <= 3, "disturbance", disturbance, "0 to 3")
        size_px = (self._pixels("image_height", DEFAULT_SIZE_PX[0]), self._pixels("image_width", DEFAULT_SIZE_PX[1]))
        world = World(
            self.declare_parameter("task", "reach").value,
            self.declare_parameter("seed", 0).value,
            self.embodiment.home_rad,
            variation=self.declare_parameter("variation", "none").value,
            disturbance=disturbance,
        )
        self._driver = Driver(
            world, self.embodiment.joints.names, lambda: int(self.get_clock().now().nanoseconds), speed
        )
        self._make_outputs(speed)
        self._make_inputs()
        self._cameras = self._make_cameras(size_px)
        self.create_timer(_WATCH_PERIOD_S, self._watch)
        self._stalls = 0
        self._driver.start()
        self.get_logger().info(f"{world.task.name}, seed {world.seed}, {speed:g} x real time, images {size_px}")

    def close(self) -> None:
        """End the threads, then the node."""
        self._driver.stop()
        self._cameras.stop()

    def _number(self, name: str, default: float) -> float:
        """A parameter that `name:=2` may give as a whole number."""
        return float(self.declare_parameter(name, default, ParameterDescriptor(dynamic_typing=True)).value)

    def _pixels(self, name: str, default: int) -> int:
        value: int = self.declare_parameter(name, default).value
        check(16 <= value <= 1280, name, value, "16 to 1280")
        return value

    def _make_outputs(self, speed: float) -> None:
        joints, gripper = self.embodiment.joints, self.embodiment.gripper
        self._joints_message = _joint_state(joints.names)
        self._joints_publisher = self.create_publisher(JointState, joints.topic, RELIABLE_10)
        if speed != 1.0:
            self._clock_publisher = self.create_publisher(Clock, "/clock", RELIABLE_1)
            self._driver.every(round(1e9 / _CLOCK_RATE_HZ), self._publish_clock)
        self._driver.every(round(1e9 / joints.timing.rate_hz), self._publish_joints)
        if gripper:
            self._gripper_message = _joint_state(gripper.names)
            self._gripper_publisher = self.create_publisher(JointState, gripper.topic, RELIABLE_1)
            self._driver.every(round(1e9 / gripper.timing.rate_hz), self._publish_gripper)
        self._status_publisher = self.create_publisher(SimStatus, "/hpt_ros/sim/status", RELIABLE_10)
        self._driver.every(round(1e9 / _STATUS_RATE_HZ), self._publish_status)

    def _make_inputs(self) -> None:
        command = self.embodiment.command
        streamed = command.topic if command.backend == "joint_position" else STREAM_TOPIC
        self.create_subscription(Float64MultiArray, streamed, self._on_joint_target, RELIABLE_1)
        if command.backend == "joint_trajectory":
            self.create_subscription(JointTrajectory, command.topic, self._on_trajectory, RELIABLE_1)
        self._make_gripper_topic()
        self._make_reset()

    def _make_gripper_topic(self) -> None:
        command = self.embodiment.command
        if command.gripper_backend == "topic":
            self.create_subscription(Float64MultiArray, command.gripper_topic, self._on_gripper, RELIABLE_10)

    def _make_reset(self) -> None:
        self.create_service(ResetScene, "/hpt_ros/sim/reset", self._on_reset)

    def _make_cameras(self, size_px: tuple[int, int]) -> CameraThread:
        colour, depth = self.embodiment.cameras, self.embodiment.depth
        rates_hz = [camera.timing.rate_hz for camera in colour] + [camera.timing.rate_hz for camera in depth]
        rate_hz = self._number("camera_rate_hz", 0.0) or max(rates_hz, default=30.0)
        check(0 < rate_hz <= 200, "camera_rate_hz", rate_hz, "above 0, at most 200; 0 as the embodiment")
        self._outlets: dict[str, CameraOutlet | DepthOutlet] = {
            **{camera.name: CameraOutlet(self, camera) for camera in colour},
            **{camera.name: DepthOutlet(self, camera) for camera in depth},
        }
        thread = CameraThread(
            self._driver.world.model,
            list(self._outlets),
            size_px,
            wanted=lambda: [name for name, outlet in self._outlets.items() if outlet.wanted],
            deliver=self._deliver_picture,
        )
        world = self._driver.world
        self._driver.every(round(1e9 / rate_hz), lambda stamp_ns: thread.offer(stamp_ns, world.snapshot()))
        return thread

    def _deliver_picture(self, name: str, stamp_ns: int, image: Any) -> None:
        self._outlets[name].publish(stamp_ns, image)

    def _publish_clock(self, stamp_ns: int) -> None:
        message = Clock()
        set_stamp(message.clock, stamp_ns)
        self._clock_publisher.publish(message)

    def _publish_joints(self, stamp_ns: int) -> None:
        message, world = self._joints_message, self._driver.world
        set_stamp(message.header.stamp, stamp_ns)
        message.position = array("d", world.q.tobytes())
        message.velocity = array("d", world.dq.tobytes())
        message.effort = array("d", world.torque.tobytes())
        self._joints_publisher.publish(message)

    def _publish_gripper(self, stamp_ns: int) -> None:
        message = self._gripper_message
        set_stamp(message.header.stamp, stamp_ns)
        message.position = array("d", self._driver.world.fingers_m.tobytes())
        self._gripper_publisher.publish(message)

    def _publish_status(self, stamp_ns: int) -> None:
        world, message = self._driver.world, SimStatus()
        set_stamp(message.header.stamp, stamp_ns)
        message.task, message.seed, message.episode = world.task.name, world.seed, world.episode
        message.elapsed_s, message.success = world.elapsed_s, world.success
        position, orientation = message.object.position, message.object.orientation
        position.x, position.y, position.z = world.cube_m.tolist()
        orientation.w, orientation.x, orientation.y, orientation.z = world.cube_wxyz.tolist()
        message.goal.x, message.goal.y, message.goal.z = world.goal_m.tolist()
        message.real_time_factor = self._driver.real_time_factor
        self._status_publisher.publish(message)

    def _on_trajectory(self, message: Any) -> None:
        stamp = message.header.stamp
        points: list[Point] = [
            (
                p.time_from_start.sec + p.time_from_start.nanosec * 1e-9,
                p.positions,
                p.velocities or None,
                p.accelerations or None,
            )
            for p in message.points
        ]
        self._try(lambda: self._driver.follow(message.joint_names, points, stamp.sec * 10**9 + stamp.nanosec))

    def _on_joint_target(self, message: Any) -> None:
        self._try(lambda: self._driver.hold(message.data))

    def _on_gripper(self, message: Any) -> None:
        self._try(lambda: self._driver.set_gripper(message.data))

    def _try(self, command: Callable[[], None]) -> None:
        try:
            command()
        except HptRosError as error:
            self.get_logger().warning(f"command discarded: {error.message}", throttle_duration_sec=1.0)

    def _on_reset(self, request: Any, response: Any) -> Any:
        try:
            response.episode = self._driver.reset(request.task, request.seed)
            response.success = True
        except HptRosError as error:
            response.success, response.message = False, str(error)
        return response

    def _watch(self) -> None:
        for failure in (self._driver.failure, self._cameras.failure):
            if failure:
                raise failure
        if self._driver.stalls > self._stalls:
            self._stalls = self._driver.stalls
            self.get_logger().warning(
                f"the machine is too slow or slept: {self._stalls} gaps in simulated time", throttle_duration_sec=10.0
            )


def _joint_state(names: tuple[str, ...]) -> Any:
    """A message to be filled again and again: made anew it would cost a third of the publication."""
    zeros = array("d", [0.0] * len(names))
    return JointState(name=list(names), position=zeros, velocity=zeros, effort=zeros)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(SimNode, args)


if __name__ == "__main__":
    sys.exit(main())
