"""How bags become demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hpt_ros.configuration import check, to_mapping
from hpt_ros.demos.type_map import TypeMap

NEXT_STATE = "next-state"


@dataclass(frozen=True)
class Outside:
    """Facts of episodes that another recorder made, whose bags do not tell them."""

    task: str
    score: float
    instruction: str = ""

    def __post_init__(self) -> None:
        check(bool(self.task), "task", self.task, "a name", "pass --task")
        check(0 <= self.score <= 1, "score", self.score, "0 to 1")


@dataclass(frozen=True)
class ConvertSettings:
    """Choices of one conversion.

    min_score: episodes scored below it are left out.
    actions: `commanded`: the command in force at the tick; `next-state`: the measured state at the tick, for arms that
        were guided by hand (the label of an observation is the state one period later, and so on).
    receive_time: take the recorder's receive times for the times of measurement, where headers hold no usable stamps.
    keep_idle: keep the time before the first and after the last motion.
    allow_slow: accept streams that came at less than `sync.SLOW` of their declared rate.
    outside: for bags of other recorders.
    types: how messages of other types than ours are read; without it, none.
    """

    min_score: float = 0.5
    actions: Literal["commanded", "next-state"] = "commanded"
    receive_time: bool = False
    keep_idle: bool = False
    allow_slow: bool = False
    outside: Outside | None = None
    types: TypeMap | None = None

    def __post_init__(self) -> None:
        check(self.actions in ("commanded", NEXT_STATE), "actions", self.actions, f"commanded or {NEXT_STATE}")

    @property
    def from_state(self) -> bool:
        """Whether actions come from the measured state; no command topic is needed then."""
        return self.actions == NEXT_STATE

    def to_mapping(self) -> dict[str, Any]:
        """Plain data."""
        mapping: dict[str, Any] = to_mapping(self)
        return mapping
