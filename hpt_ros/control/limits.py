"""Joint limits of the robots: the only place where they stand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LimitTable:
    """Per joint: position [rad], velocity [rad/s], acceleration [rad/s^2], jerk [rad/s^3].

    Source: Franka control parameters documentation, "Limits for Panda" and "Limits for Franka Research 3".
    """

    position_min: tuple[float, ...]
    position_max: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]


TABLES = {
    "fer": LimitTable(
        position_min=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        position_max=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        velocity=(2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100),
        acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
        jerk=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
    ),
    # The rectangular FR3 table: velocities that hold at every position inside its narrower position limits.
    "fr3": LimitTable(
        position_min=(-2.3093, -1.5133, -2.4937, -2.7478, -2.4800, 0.8521, -2.6895),
        position_max=(2.3093, 1.5133, 2.4937, -0.4461, 2.4800, 4.2094, 2.6895),
        velocity=(2.0, 1.0, 1.5, 1.25, 3.0, 1.5, 3.0),
        acceleration=(10.0,) * 7,
        jerk=(5000.0,) * 7,
    ),
}
