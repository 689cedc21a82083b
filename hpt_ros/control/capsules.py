"""The Panda's links and hand as capsules: how near it comes to itself, and which way that distance changes.

Source of positions and lengths: the self-collision volumes of franka_description (franka_arm.xacro, franka_hand.xacro).
Radii and ends are enlarged until they also hold the shapes of the simulated arm, its wrist camera and open fingers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.kinematics import FLANGE_M, HAND_YAW_RAD, point_jacobian

Array = NDArray[np.float64]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Capsule:
    """All points within `radius_m` of a segment that `link` (0: the base, 7: the last) carries; ends in the link's frame."""

    link: int
    start_m: Point
    end_m: Point
    radius_m: float


def hand_point(x: float, y: float, z: float) -> Point:
    """A point of the hand's frame in the frame of link 7."""
    c, s = math.cos(HAND_YAW_RAD), math.sin(HAND_YAW_RAD)
    return (c * x - s * y, s * x + c * y, FLANGE_M + z)


CAPSULES = {
    "base": Capsule(0, (-0.12, 0.0, 0.05), (0.03, 0.0, 0.05), 0.112),
    "column": Capsule(1, (0.0, 0.0, -0.24), (0.0, 0.0, -0.03), 0.068),
    "shoulder": Capsule(2, (0.0, 0.0, -0.062), (0.0, 0.0, 0.062), 0.072),
    "upper arm": Capsule(2, (0.0, -0.03, 0.0), (0.0, -0.19, 0.0), 0.062),
    "elbow side": Capsule(3, (0.01, 0.0, -0.1), (0.0825, 0.0, 0.0), 0.062),
    "elbow": Capsule(3, (0.0825, -0.06, 0.0), (0.0825, 0.06, 0.0), 0.06),
    "forearm top": Capsule(4, (-0.0755, 0.075, 0.0), (-0.0825, 0.144, 0.0), 0.062),
    "forearm": Capsule(5, (0.0, 0.0, -0.24), (0.0, 0.0, -0.18), 0.062),
    "forearm low": Capsule(5, (0.0, 0.02, -0.18), (0.0, 0.055, -0.09), 0.05),
    "forearm tip": Capsule(5, (0.0, 0.054, -0.09), (0.0, 0.058, -0.025), 0.042),
    "wrist": Capsule(5, (0.0, 0.0, 0.0), (0.0, 0.065, -0.02), 0.055),
    "wrist side": Capsule(6, (0.0, 0.0, -0.06), (0.0, 0.0, 0.075), 0.055),
    "flange": Capsule(7, (0.0, 0.0, -0.05), (0.0, 0.0, 0.08), 0.058),
    "hand": Capsule(7, hand_point(0.0, -0.07, 0.035), hand_point(0.0, 0.07, 0.035), 0.055),
    "fingers": Capsule(7, hand_point(0.0, -0.045, 0.09), hand_point(0.0, 0.045, 0.09), 0.035),
    "camera": Capsule(7, hand_point(0.055, -0.04, 0.005), hand_point(0.055, 0.04, 0.005), 0.03),
}

_PARALLEL = 1e-12
_BASE = np.eye(4)[None]
_LOWER = ("base", "column", "shoulder", "upper arm")
_UPPER = ("forearm", "forearm low", "wrist", "wrist side", "flange", "hand", "fingers", "camera")
_FOREARM = ("forearm top", "forearm", "forearm low", "forearm tip")
PAIRS = (
    *product(_LOWER, _UPPER),
    ("base", "forearm top"),
    *product(_FOREARM, ("hand", "fingers", "camera")),
)
"""Those that can meet inside the joint limits; in 20 000 random postures every other pair kept 17 mm or more."""


class CapsuleSet:
    """Capsules with their links and radii as arrays, in the order given."""

    def __init__(self, capsules: Sequence[Capsule]) -> None:
        self.links = np.array([c.link for c in capsules])
        self.radii_m = np.array([c.radius_m for c in capsules])
        self._ends = np.array([[[*c.start_m, 1.0], [*c.end_m, 1.0]] for c in capsules]).swapaxes(1, 2)

    def ends(self, frames: Array) -> Array:
        """Ends (..., C, 2, 3) of the segments in the base frame, for `kinematics.joint_frames` (..., 7, 4, 4)."""
        poses = np.empty((*frames.shape[:-3], len(_BASE) + 7, 4, 4))
        poses[..., :1, :, :], poses[..., 1:, :, :] = _BASE, frames
        ends: Array = (poses[..., self.links, :3, :] @ self._ends).swapaxes(-1, -2)
        return ends


class SelfDistance:
    """Distances between the capsules of `pairs`, in that order in every result."""

    def __init__(self, pairs: tuple[tuple[str, str], ...] = PAIRS) -> None:
        self.pairs = pairs
        names = sorted({name for pair in pairs for name in pair})
        self._capsules = CapsuleSet([CAPSULES[name] for name in names])
        self._first = np.array([names.index(a) for a, _ in pairs])
        self._second = np.array([names.index(b) for _, b in pairs])
        radii = self._capsules.radii_m
        self._radii = radii[self._first] + radii[self._second]
        self._products = _product_indices(len(names), self._first, self._second)
        joints = np.arange(1, 8)
        self._carried = (joints <= self._capsules.links[:, None]).astype(float)  # whether a joint moves a capsule

    def between(self, frames: Array) -> Array:
        """Distances (N, P) [m] in N postures, for their frames (N, 7, 4, 4).

        As `nearest_points`, from the scalar products of all starts and directions at once: a third of the time in the control
        tick. Rounding is below 1e-7 m where axes meet, and nothing at the distances that are kept.
        """
        ends = self._capsules.ends(frames)
        vectors = np.concatenate([ends[:, :, 0], ends[:, :, 1] - ends[:, :, 0]], axis=1)  # starts p, directions d
        products = (vectors @ vectors.swapaxes(1, 2)).reshape(len(ends), -1)
        pp, qq, pq, uu, vv, uv, up, uq, vp, vq = products.take(self._products, axis=1).swapaxes(0, 1)
        uw, vw = up - uq, vp - vq  # w = p - q, from the second start to the first
        s, t = _nearest(uu, vv, uv, uw, vw)
        squares = pp + qq - 2 * pq + s * (s * uu + 2 * (uw - t * uv)) + t * (t * vv - 2 * vw)
        distances: Array = np.sqrt(np.maximum(squares, 0.0)) - self._radii
        return distances

    def measure(self, frames: Array) -> tuple[Array, Array]:
        """Distances (P,) [m], negative where two capsules overlap, and their gradients (P, 7) [m/rad].

        Args:
            frames: `kinematics.joint_frames` of the arm.
        """
        ends = self._capsules.ends(frames)
        a, b = nearest_points(ends[self._first], ends[self._second])
        gap = a - b
        length = np.linalg.norm(gap, axis=1)
        normal = gap / np.maximum(length, 1e-9)[:, None]
        motion = point_jacobian(frames, np.stack([a, b]))  # (2, P, 3, 7)
        carried = np.stack([self._carried[self._first], self._carried[self._second]])
        velocity = np.einsum("pi,spij->spj", normal, motion) * carried
        return length - self._radii, velocity[0] - velocity[1]


def nearest_points(first: Array, second: Array) -> tuple[Array, Array]:
    """The nearest points (N, 3) of segments (N, 2, 3) and (N, 2, 3).

    Source: Ericson, Real-Time Collision Detection (2005), section 5.1.9.
    """
    u, v = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0]
    w = first[:, 0] - second[:, 0]
    s, t = _nearest(_dot(u, u), _dot(v, v), _dot(u, v), _dot(u, w), _dot(v, w))
    return first[:, 0] + s[:, None] * u, second[:, 0] + t[:, None] * v


def _nearest(uu: Array, vv: Array, uv: Array, uw: Array, vw: Array) -> tuple[Array, Array]:
    """Where on two segments the nearest points are, 0 (start) to 1, from products of their directions and of the way between their starts."""
    across = uu * vv - uv * uv
    s = _share((uv * vw - uw * vv) / np.maximum(across, _PARALLEL)) * (across > _PARALLEL)
    t = _share((uv * s + vw) / vv)
    return _share((uv * t - uw) / uu), t


def _share(value: Array) -> Array:
    bounded: Array = np.minimum(np.maximum(value, 0.0), 1.0)  # np.clip takes three times as long on few values
    return bounded


def _product_indices(count: int, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where the products of each pair are among those of `count` starts, then `count` directions."""
    p, q, u, v = first, second, count + first, count + second
    pairs = ((p, p), (q, q), (p, q), (u, u), (v, v), (u, v), (u, p), (u, q), (v, p), (v, q))
    return np.stack([2 * count * a + b for a, b in pairs])


def _dot(a: Array, b: Array) -> Array:
    product: Array = np.einsum("ni,ni->n", a, b)
    return product
