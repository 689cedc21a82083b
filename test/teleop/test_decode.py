"""Messages of devices: what they mean, and every reason to refuse one."""

from __future__ import annotations

from types import SimpleNamespace as Message

import numpy as np
import pytest

from hpt_ros.teleop.config import AxesSource, Axis, Buttons, LeaderSource, TwistSource
from hpt_ros.teleop.decode import (
    DeviceRefused,
    actions_of,
    leader_joints,
    opening_of,
    pose_of,
    twist_of,
    twist_of_axes,
)

STICK = TwistSource("/stick", dead_zone=0.1)
PAD = AxesSource("/joy", 4, (Axis("x", axis=1), Axis("z", axis=3, scale=-0.5), Axis("z", button=0)), dead_zone=0.2)
LEADER = LeaderSource(
    "/leader", ("a", "b"), (1, -1), (0.5, 0.0), gripper_joint="g", gripper_closed=0.2, gripper_open=1.2
)


def vector(x: float = 0, y: float = 0, z: float = 0) -> Message:
    return Message(x=x, y=y, z=z)


def twist(*values: float) -> Message:
    return Message(linear=vector(*values[:3]), angular=vector(*values[3:]))


def test_a_twist_is_clipped_and_has_a_dead_zone_without_a_jump() -> None:
    values = twist_of(twist(0.05, 0.1, 0.11, 1.0, -1.2, -0.55), STICK)
    np.testing.assert_allclose(values, [0, 0, 0.01 / 0.9, 1, -1, -0.5], atol=1e-12)
    stamped = TwistSource("/stick", stamped=True)
    assert twist_of(Message(twist=twist(0, 0, 1, 0, 0, 0)), stamped)[2] == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    for read in (
        lambda: twist_of(twist(0, bad, 0, 0, 0, 0), STICK),
        lambda: twist_of_axes(Message(axes=[0, bad, 0, 0], buttons=[0]), PAD),
        lambda: pose_of(Message(pose=Message(position=vector(bad), orientation=Message(w=1, x=0, y=0, z=0))), "/p"),
        lambda: leader_joints(Message(name=["a", "b", "g"], position=[0, bad, 0]), LEADER),
        lambda: opening_of(Message(data=bad), "/g"),
    ):
        with pytest.raises(DeviceRefused, match="1 values are not finite"):
            read()


def test_a_device_scaled_wrongly_is_refused() -> None:
    with pytest.raises(DeviceRefused, match=r"/stick: a deflection of 350.00, expected -1 to 1"):
        twist_of(twist(350, 0, 0, 0, 0, 0), STICK)


def test_axes_and_buttons_add_up() -> None:
    values = twist_of_axes(Message(axes=[0.0, 1.0, 0.0, 1.0], buttons=[1]), PAD)
    np.testing.assert_allclose(values, [1, 0, (0.5 - 0.2) / 0.8, 0, 0, 0])


def test_another_number_of_axes_or_buttons_is_refused() -> None:
    with pytest.raises(DeviceRefused, match=r"/joy: 6 axes, expected 4"):
        twist_of_axes(Message(axes=[0] * 6, buttons=[0]), PAD)
    with pytest.raises(DeviceRefused, match=r"/joy: 2 buttons, expected more than 7"):
        actions_of(Message(buttons=[0, 1]), Buttons("/joy", home=7))


def test_held_buttons_by_action() -> None:
    buttons = Buttons("/joy", deadman=2, gripper=0, home=1)
    assert actions_of(Message(buttons=[1, 0, 1]), buttons) == {"deadman", "gripper"}


def test_a_pose() -> None:
    half = np.sqrt(0.5)
    message = Message(pose=Message(position=vector(1, 2, 3), orientation=Message(w=half, x=0, y=0, z=half)))
    pose = pose_of(message, "/p")
    np.testing.assert_allclose(pose, [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], atol=1e-12)
    message.pose.orientation = Message(w=0.0, x=0.0, y=0.0, z=0.0)
    with pytest.raises(DeviceRefused, match=r"length 0.00, expected 1"):
        pose_of(message, "/p")


def test_leader_joints_by_name_sign_and_offset() -> None:
    joints, share = leader_joints(Message(name=["g", "b", "a"], position=[0.7, 0.3, 0.1]), LEADER)
    np.testing.assert_allclose(joints, [0.6, -0.3])
    assert share == pytest.approx(0.5)
    with pytest.raises(DeviceRefused, match=r"/leader: no joint \['b'\]"):
        leader_joints(Message(name=["a", "g"], position=[0.0, 0.0]), LEADER)
    with pytest.raises(DeviceRefused, match="no joint"):
        leader_joints(Message(name=["a", "b", "g"], position=[0.0, 0.0]), LEADER)
