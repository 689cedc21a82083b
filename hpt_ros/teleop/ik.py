"""Differential inverse kinematics as one small quadratic program per step, solved by DAQP.

Task, null-space posture and damping are weighed in the cost; limits, workspace and self-collision are constraints.
Source: Escande, Mansard and Wieber, "Hierarchical quadratic programming", IJRR 2014, with weights in place of levels;
Arnström, Bemporad and Axehill, "A dual active-set solver for embedded quadratic programming", IEEE TAC 2022 (DAQP).
"""

from __future__ import annotations

from dataclasses import dataclass

import daqp  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.kinematics import jacobian
from hpt_ros.teleop.constraints import Allowed, Constraints

Array = NDArray[np.float64]

_LEVER_M = 0.25  # a rotation error counts as much as the path of a point this far from the TCP
_POSTURE_WEIGHT = 0.01
_DAMPING, _SINGULAR_DAMPING = 1e-5, 4e-3
_SINGULAR_BELOW = 0.08  # of the smallest singular value; the ready pose has 0.2
_TASK_WEIGHTS = np.array([1.0, 1.0, 1.0, _LEVER_M**2, _LEVER_M**2, _LEVER_M**2])
_UNBOUNDED = 1e30  # DAQP's infinity
_BINDING = 1e-9


@dataclass(frozen=True)
class Motion:
    """What is wanted: a TCP twist (6,) [m/s, rad/s] in the base frame, or joint velocities (7,) [rad/s].

    `posture` (7,) [rad/s] goes with a twist: joint velocities wished for; only the part that leaves the TCP alone is used.
    """

    twist: Array | None = None
    joints: Array | None = None
    posture: Array | None = None


@dataclass(frozen=True)
class Step:
    """Joint velocities (7,) [rad/s] and the kinds of limits that changed them."""

    dq: Array
    limited_by: tuple[str, ...] = ()


class DifferentialIK:
    """Joint velocities that come nearest to a wanted motion and keep every limit of `constraints`."""

    def __init__(self, constraints: Constraints) -> None:
        self.constraints = constraints

    def solve(
        self, q: Array, wanted: Motion, before: Array, step_s: float, window: tuple[Array, Array] | None = None
    ) -> Step:
        """One step of `step_s` from joint angles `q` (7,) [rad].

        Args:
            before: joint velocities (7,) [rad/s] so far; they change no faster than the acceleration limit.
            window: as in `Constraints.at`.
        """
        allowed = self.constraints.at(q, window)
        hessian, gradient = _cost(q, wanted)
        change = self.constraints.acceleration * step_s
        high = np.minimum(allowed.high, before + change)
        low = np.maximum(allowed.low, before - change)
        high, low = np.maximum(high, np.minimum(allowed.high, low)), np.minimum(low, high)
        step = _solve(hessian, gradient, allowed, low, high, allowed.most)
        if step is None:  # e.g. no way to brake in time: then at least no motion toward a limit; rest is always allowed
            step = _solve(
                hessian,
                gradient,
                allowed,
                np.minimum(allowed.low, 0.0),
                np.maximum(allowed.high, 0.0),
                np.maximum(allowed.most, 0.0),
            )
        return step or Step(np.zeros_like(q))


def _cost(q: Array, wanted: Motion) -> tuple[Array, Array]:
    """Hessian (7, 7) and gradient (7,) of half the weighted sum of squares."""
    identity = np.eye(len(q))
    if wanted.twist is None:
        assert wanted.joints is not None
        return identity, -wanted.joints
    matrix = jacobian(q)
    smallest = float(np.linalg.svd(matrix, compute_uv=False)[-1])
    damping = _DAMPING + _SINGULAR_DAMPING * max(0.0, 1 - smallest / _SINGULAR_BELOW) ** 2
    weighted = matrix.T * _TASK_WEIGHTS
    null = identity - matrix.T @ np.linalg.solve(matrix @ matrix.T + _DAMPING * np.eye(6), matrix)
    free = _POSTURE_WEIGHT * null.T @ null
    posture = np.zeros_like(q) if wanted.posture is None else wanted.posture
    return weighted @ matrix + free + damping * identity, -(weighted @ wanted.twist + free @ posture)


def _solve(hessian: Array, gradient: Array, allowed: Allowed, low: Array, high: Array, most: Array) -> Step | None:
    """The minimum inside the limits; None if no velocity is allowed."""
    upper = np.concatenate([high, most])
    lower = np.concatenate([low, np.full(len(most), -_UNBOUNDED)])
    sense = np.zeros(len(upper), dtype=np.int32)
    normals = np.ascontiguousarray(allowed.normals)
    dq, _, flag, info = daqp.solve(hessian, gradient, normals, upper, lower, sense)
    if flag < 1 or not np.isfinite(dq).all():
        return None
    return Step(np.array(dq), _binding(allowed, low, high, np.asarray(info["lam"])))


def _binding(allowed: Allowed, low: Array, high: Array, multipliers: Array) -> tuple[str, ...]:
    """The kinds of the limits that hold the solution back; acceleration is not one of them."""
    joints, rest = multipliers[: len(low)], multipliers[len(low) :]
    kinds = [allowed.high_kinds[i] for i in np.flatnonzero((joints > _BINDING) & (high >= allowed.high))]
    kinds += [allowed.low_kinds[i] for i in np.flatnonzero((joints < -_BINDING) & (low <= allowed.low))]
    kinds += [allowed.kinds[i] for i in np.flatnonzero(rest > _BINDING)]
    return tuple(sorted(set(kinds)))
