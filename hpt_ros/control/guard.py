"""Where the arm may not be, by forward kinematics: the tool outside its box, a link in the table, a link in another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.capsules import CAPSULES, PAIRS, Capsule, CapsuleSet, SelfDistance, hand_point
from hpt_ros.control.kinematics import joint_frames, tool
from hpt_ros.embodiment.schema import Safety

Array = NDArray[np.float64]

WORKSPACE, TABLE, SELF_COLLISION = "workspace", "table", "self-collision"
_KINDS = (WORKSPACE, TABLE, SELF_COLLISION)
CLEARANCE_M = 0.005  # between capsules; teleoperation, which can steer around, keeps more

_TIPS = Capsule(7, hand_point(0.0, -0.045, 0.1022), hand_point(0.0, 0.045, 0.1022), 0.01)  # 8.8 mm beyond the TCP
_ABOVE_TABLE = {name: capsule for name, capsule in CAPSULES.items() if capsule.link >= 3 and name != "fingers"} | {
    "finger tips": _TIPS
}  # the links below cannot be lowered; the fingers' capsule is too wide to grasp from a table

REACH_M = np.array([1.03, 1.03, 0.79, 0.71, 0.31, 0.31, 0.09])
"""By joint: how far the axis of any capsule beyond it, or the TCP, can be from the joint's axis, so that no room changes faster [m/rad]."""


class Known:
    """A posture with bounds, from below, of its rooms; at first nothing is known."""

    def __init__(self) -> None:
        self.q, self.rooms = np.zeros(len(REACH_M)), np.full(len(_KINDS), -np.inf)


class Guard:
    """Judges postures against `safety.workspace`, the table and the arm itself."""

    def __init__(self, safety: Safety) -> None:
        box = safety.workspace
        faces = np.array([box.x_m, box.y_m, box.z_m])
        self._low, self._high = faces[:, 0], faces[:, 1]
        self._table_m = safety.table_m
        self._links = CapsuleSet(list(_ABOVE_TABLE.values()))
        self._self = SelfDistance()
        self._measures = (self._in_box, self._above_table, self._apart)

    def rooms(self, q: Array) -> Array:
        """What is left [m] in postures (N, 7) [rad], (N, 3): of the box, above the table, between links; negative: too far."""
        frames = joint_frames(q)
        return np.stack([measure(frames) for measure in self._measures], axis=1)

    def judge(self, q: Array, margin_m: Array, known: Known | None = None) -> tuple[str, ...]:
        """For each of the postures (N, 7): the kind of which it has less room than its margin (N,); "" if of none.

        Args:
            known: room is measured only where `known`, and how far the joints are from it, leave a doubt; the first of the
                postures takes its place.
        """
        known = known or Known()
        rooms = known.rooms - (np.abs(q - known.q) @ REACH_M)[:, None]
        doubtful = (rooms < margin_m[:, None]).any(axis=0)
        if doubtful.any():
            frames = joint_frames(q)
            for kind in np.flatnonzero(doubtful):
                rooms[:, kind] = self._measures[kind](frames)
        known.q, known.rooms = q[0], rooms[0]
        short = rooms < margin_m[:, None]
        if not short.any():
            return ("",) * len(q)
        worst = rooms.argmin(axis=1)
        return tuple(
            _KINDS[kind] if any_short else "" for kind, any_short in zip(worst, short.any(axis=1), strict=True)
        )

    def explain(self, q: Array) -> tuple[str, str]:
        """Why a posture (7,) is not allowed and what to do about it; empty if it is."""
        kind = self.judge(q[None], np.zeros(1))[0]
        if not kind:
            return "", ""
        frames = joint_frames(q)
        if kind == WORKSPACE:
            spans = [
                f"{axis} {low:g} to {high:g}" for axis, low, high in zip("xyz", self._low, self._high, strict=True)
            ]
            return (
                "the tool is at x {:.3f}, y {:.3f}, z {:.3f} m, the workspace is ".format(*tool(frames)[:3, 3])
                + ", ".join(spans),
                "move the arm into the workspace by hand, or change safety.workspace",
            )
        if kind == TABLE:
            heights = self._heights(frames[None])[0]
            name = list(_ABOVE_TABLE)[int(heights.argmin())]
            return (
                f"the {name} is {-heights.min() * 1e3:.0f} mm below the table at z {self._table_m:g} m",
                "lift the arm by hand, or correct safety.table_z_m",
            )
        distances = self._self.between(frames[None])[0]
        first, second = PAIRS[int(distances.argmin())]
        return (
            f"the {first} and the {second} are {distances.min() * 1e3:.0f} mm apart, at least {CLEARANCE_M * 1e3:.0f} mm are kept",
            "unfold the arm by hand",
        )

    def _in_box(self, frames: Array) -> Array:
        tcp = tool(frames)[:, :3, 3]
        room: Array = np.minimum(tcp - self._low, self._high - tcp).min(axis=1)
        return room

    def _above_table(self, frames: Array) -> Array:
        room: Array = self._heights(frames).min(axis=1)
        return room

    def _apart(self, frames: Array) -> Array:
        room: Array = self._self.between(frames).min(axis=1) - CLEARANCE_M
        return room

    def _heights(self, frames: Array) -> Array:
        """Height (N, C) [m] of the lowest point of each capsule over the table."""
        heights: Array = self._links.ends(frames)[..., 2].min(axis=-1) - self._links.radii_m - self._table_m
        return heights
