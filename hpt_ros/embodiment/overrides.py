"""What a launch may change of an embodiment for one run: nothing that shapes tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from hpt_ros.configuration import check
from hpt_ros.embodiment.schema import Embodiment

STRATEGIES = ("receding_horizon", "temporal_ensemble", "blend")


def overridden(
    embodiment: Embodiment,
    strategy: str = "",
    limits_fraction: float = 1.0,
    command_rate_hz: float = 0.0,
    execute_rows: int = 0,
) -> Embodiment:
    """The embodiment of one run.

    Args:
        strategy: how chunks follow each other; empty: as the embodiment says.
        limits_fraction: share of the embodiment's own velocity, acceleration and jerk limits, above 0, at most 1.
        command_rate_hz: 0: as the embodiment says.
        execute_rows: of a chunk, before the next one takes over; 0: as the embodiment says.

    Raises:
        ConfigError: a value outside its range.
    """
    check(strategy in ("", *STRATEGIES), "strategy", strategy, f"one of {', '.join(STRATEGIES)}, or empty")
    check(0 < limits_fraction <= 1, "limits_fraction", limits_fraction, "above 0, at most 1")
    policy, safety = embodiment.policy, embodiment.safety
    policy = replace(
        policy, strategy=cast(Any, strategy or policy.strategy), execute_rows=execute_rows or policy.execute_rows
    )
    changes: dict[str, Any] = {"policy": policy}
    if command_rate_hz:
        changes["command"] = replace(embodiment.command, rate_hz=command_rate_hz)
    if limits_fraction < 1:
        changes["safety"] = replace(
            safety,
            velocity_fraction=safety.velocity_fraction * limits_fraction,
            acceleration_fraction=safety.acceleration_fraction * limits_fraction,
            jerk_fraction=safety.jerk_fraction * limits_fraction,
        )
    return replace(embodiment, **changes)
