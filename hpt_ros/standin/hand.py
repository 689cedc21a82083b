"""The Franka Hand's action servers: calls that block until the fingers have come to rest, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.node import Node
from rclpy.task import Future

from hpt_ros.embodiment.schema import Command
from hpt_ros.nodes.namespace import under
from hpt_ros.sim.driver import Driver
from hpt_ros.sim.tasks import MAX_WIDTH_M

_TOLERANCE_M = 0.005
_REST_M_S = 0.002
_REST_TICKS = 5  # in a row, of `tick`
TICK_NS = 20_000_000


class Fingers:
    """Where the fingers go, and when they have come to rest. `tick` is called in the physics thread every `TICK_NS`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._done: Callable[[], None] | None = None
        self._still = 0
        self._last_m = self.width_m
        self.stuck = False

    @property
    def width_m(self) -> float:
        """Between the fingers."""
        return float(self._driver.world.fingers_m.sum())

    def drive(self, width_m: float, done: Callable[[], None]) -> None:
        """Go to a width; `done` is called, in the physics thread, when the fingers rest."""
        with self._driver.lock:
            self._driver.world.set_gripper_target(width_m)
            self._done, self._still = done, 0

    def tick(self, _: int) -> None:
        """Watch the fingers."""
        speed = abs(self.width_m - self._last_m) / (TICK_NS * 1e-9)
        self._last_m = self.width_m
        self._still = self._still + 1 if speed < _REST_M_S else 0
        if self._done and self._still >= _REST_TICKS and not self.stuck:
            done, self._done = self._done, None
            done()


class HandServers:
    """`move`, `grasp` and `homing` of franka_msgs, or control_msgs' GripperCommand, whichever the embodiment names.

    As the real server it accepts every goal; libfranka carries them out one by one, and cannot be interrupted.
    `most_waiting` counts goals that were there at once: more than one is a sender that streams.

    Args:
        homed: before homing the hand does not know its width, and GripperCommand aborts.
    """

    def __init__(self, node: Node, command: Command, driver: Driver, homed: bool) -> None:
        self._node, self._driver = node, driver
        self.fingers = Fingers(driver)
        self._homed = homed
        self._queue: deque[tuple[float, Future]] = deque()
        self.served: list[str] = []
        self.most_waiting = 0
        if command.gripper_backend == "franka_actions":
            actions = import_module("franka_msgs.action")
            for name, kind, execute in (
                ("move", actions.Move, self._move),
                ("grasp", actions.Grasp, self._grasp),
                ("homing", actions.Homing, self._home),
            ):
                self._serve(kind, f"{command.gripper_topic}/{name}", execute)
        elif command.gripper_backend == "gripper_command":
            self._position_per_m = command.gripper_position_per_m
            kind = import_module("control_msgs.action").GripperCommand
            self._serve(kind, command.gripper_topic, self._gripper_command)
        driver.every(TICK_NS, self.fingers.tick)

    def _serve(self, kind: Any, name: str, execute: Any) -> None:
        ActionServer(
            self._node,
            kind,
            under(self._node, name),
            execute_callback=execute,
            cancel_callback=lambda _: CancelResponse.REJECT,
        )

    async def _drive(self, width_m: float) -> float:
        """The width at rest, after the goals before this one."""
        future = Future(executor=self._node.executor)
        self._queue.append((width_m, future))
        self.most_waiting = max(self.most_waiting, len(self._queue))
        if len(self._queue) == 1:
            self._next()
        width: float = await future
        return width

    def _next(self) -> None:
        width_m, future = self._queue[0]
        self.fingers.drive(width_m, lambda: future.set_result(self.fingers.width_m))

    def _finished(self) -> None:
        self._queue.popleft()
        if self._queue:
            self._next()

    async def _move(self, handle: Any) -> Any:
        goal, result = handle.request, _result(handle)
        width_m = await self._drive(goal.width)
        self._finished()
        self.served.append("move")
        result.success = abs(width_m - goal.width) < _TOLERANCE_M
        result.error = "" if result.success else "the width was not reached"
        return _end(handle, result, result.success)

    async def _grasp(self, handle: Any) -> Any:
        goal, result = handle.request, _result(handle)
        width_m = await self._drive(goal.width)
        self._finished()
        self.served.append("grasp")
        result.success = goal.width - goal.epsilon.inner <= width_m <= goal.width + goal.epsilon.outer
        result.error = "" if result.success else f"{width_m:.3f} m is outside the tolerance"
        return _end(handle, result, result.success)

    async def _home(self, handle: Any) -> Any:
        result = _result(handle)
        for width_m in (0.0, MAX_WIDTH_M):
            await self._drive(width_m)
            self._finished()
        self.served.append("homing")
        self._homed = result.success = True
        return _end(handle, result, True)

    async def _gripper_command(self, handle: Any) -> Any:
        wanted, result = handle.request.command.position / self._position_per_m, _result(handle)
        max_width_m = MAX_WIDTH_M if self._homed else 0.0
        if not 0 <= wanted <= max_width_m + 1e-6:
            return _end(handle, result, False)
        width_m = await self._drive(wanted)
        self._finished()
        self.served.append("gripper_command")
        result.position, result.reached_goal = width_m, abs(width_m - wanted) < _TOLERANCE_M
        result.stalled = not result.reached_goal
        return _end(handle, result, True)


def _result(handle: Any) -> Any:
    return handle._action_server.action_type.Result()


def _end(handle: Any, result: Any, success: bool) -> Any:
    if success:
        handle.succeed()
    else:
        handle.abort()
    return result
