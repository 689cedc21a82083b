"""Joint limits of the robots: the only place where they stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class VelocityCurve:
    """Toward its end stop a joint must be slow enough to be stopped before it: per joint, offset [rad/s], twice the
    deceleration [rad/s^2] and the positions [rad] at which the curves end.

    Upward, `velocity <= max(0, -offset + sqrt(twice_deceleration * (up - q)))`; downward mirrored.
    Source: libfranka, rate_limiting.h (computeUpperLimitsJointVelocity and its counterpart).
    """

    offset: tuple[float, ...]
    twice_deceleration: tuple[float, ...]
    down: tuple[float, ...]
    up: tuple[float, ...]


@dataclass(frozen=True)
class LimitTable:
    """Per joint: position [rad], velocity [rad/s], acceleration [rad/s^2], jerk [rad/s^3].

    With a curve, the stricter of it and `velocity` holds.
    Source: Franka control parameters documentation, "Limits for Panda" and "Limits for Franka Research 3".
    """

    position_min: tuple[float, ...]
    position_max: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]
    curve: VelocityCurve | None = None


_FR3_CURVE = VelocityCurve(
    offset=(0.30, 0.20, 0.20, 0.30, 0.35, 0.35, 0.35),
    twice_deceleration=(12.0, 5.17, 7.0, 8.0, 34.0, 11.0, 34.0),
    down=(-2.75010, -1.79180, -2.90650, -3.0481, -2.81010, 0.54092, -3.01960),
    up=(2.75010, 1.79180, 2.90650, -0.1458, 2.81010, 4.52050, 3.01960),
)

TABLES = {
    "fer": LimitTable(
        position_min=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        position_max=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        velocity=(2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100),
        acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
        jerk=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
    ),
    # The rectangular FR3 table: inside its narrower position limits its lower velocities hold at every position.
    "fr3": LimitTable(
        position_min=(-2.3093, -1.5133, -2.4937, -2.7478, -2.4800, 0.8521, -2.6895),
        position_max=(2.3093, 1.5133, 2.4937, -0.4461, 2.4800, 4.2094, 2.6895),
        velocity=(2.0, 1.0, 1.5, 1.25, 3.0, 1.5, 3.0),
        acceleration=(10.0,) * 7,
        jerk=(5000.0,) * 7,
        curve=_FR3_CURVE,
    ),
    # All that an FR3 before system version 5.9 reaches, faster in the middle and slower near the end stops.
    "fr3_full": LimitTable(
        position_min=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
        position_max=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
        velocity=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
        acceleration=(10.0,) * 7,
        jerk=(5000.0,) * 7,
        curve=_FR3_CURVE,
    ),
}


class VelocityLimits:
    """Allowed joint velocities by position: `fraction` of the table's, always the stricter of constant and curve."""

    def __init__(self, table: LimitTable, fraction: float) -> None:
        self.highest = fraction * np.array(table.velocity)
        self._fraction = fraction
        self._curve = (
            [
                np.array(c)
                for c in (table.curve.offset, table.curve.twice_deceleration, table.curve.down, table.curve.up)
            ]
            if table.curve
            else None
        )

    @property
    def depend_on_position(self) -> bool:
        """Whether there is a curve."""
        return self._curve is not None

    def up(self, q: Array, share: float = 1.0) -> Array:
        """The most that joints at `q` (..., J) [rad] may move upward [rad/s], >= 0; of the curve only a share."""
        return self.highest if self._curve is None else self._toward(self._curve[3] - q, share)

    def down(self, q: Array, share: float = 1.0) -> Array:
        """The most that joints at `q` (..., J) [rad] may move downward [rad/s], >= 0."""
        return self.highest if self._curve is None else self._toward(q - self._curve[2], share)

    def range_at(self, velocity: float) -> tuple[Array, Array]:
        """Positions (J,) [rad] between which the curve still allows `velocity` [rad/s] before the fraction, either way."""
        if self._curve is None:
            return np.full(len(self.highest), -np.inf), np.full(len(self.highest), np.inf)
        offset, twice_deceleration, down, up = self._curve
        room = (offset + velocity) ** 2 / twice_deceleration
        return down + room, up - room

    def _toward(self, room: Array, share: float) -> Array:
        assert self._curve is not None
        offset, twice_deceleration, _, _ = self._curve
        curve = np.sqrt(np.maximum(twice_deceleration * room, 0.0)) - offset
        allowed: Array = np.minimum(self.highest, share * self._fraction * np.maximum(curve, 0.0))
        return allowed
