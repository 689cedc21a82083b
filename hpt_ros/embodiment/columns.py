"""What the columns of an action row are, by kind of action: names and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

ActionKind = Literal["joint_position", "joint_delta", "ee_pose", "ee_delta"]
KINDS: tuple[ActionKind, ...] = get_args(ActionKind)
ABSOLUTE: dict[ActionKind, ActionKind] = {"joint_delta": "joint_position", "ee_delta": "ee_pose"}
"""The kind that a kind of differences becomes once it is added to the state; the others stay what they are."""


@dataclass(frozen=True)
class Column:
    """One column and its unit: rad, m, or 1 for the entries of a rotation matrix."""

    name: str
    unit: str


_POSITION = tuple(Column(f"tcp_{axis}", "m") for axis in "xyz")
_ROTATION = tuple(Column(f"tcp_{of}axis_{axis}", "1") for of in "xy" for axis in "xyz")
_STEP = tuple(Column(f"tcp_d{axis}", "m") for axis in "xyz")
_TURN = tuple(Column(f"tcp_r{axis}", "rad") for axis in "xyz")


def arm_columns(kind: ActionKind, joints: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a kind without the gripper's; `joints` are the arm's joint names.

    `ee_pose` is the position of the tool centre point and the x and y axes of its frame (the first two columns of the
    rotation matrix), all in the base frame. `ee_delta` is how far it moves, and the rotation vector by which it turns,
    about the axes of the base frame.
    """
    if kind == "ee_pose":
        return _POSITION + _ROTATION
    if kind == "ee_delta":
        return _STEP + _TURN
    return tuple(Column(f"{name}_delta" if kind == "joint_delta" else name, "rad") for name in joints)
