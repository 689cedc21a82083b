"""When a running trial is over, and how often a person had to step in. No ROS."""

from __future__ import annotations

from dataclasses import dataclass

SUCCESS, FAULT, REFUSED, HELD, TIMEOUT, OPERATOR = "success", "fault", "refused", "held", "timeout", "operator"
_SETTLED_S = 0.5  # after an engagement, until which the status may still be the one before
_MAX_HOLD_S = 3.0  # the commander goes on by itself within 2 s, or not at all
_BY_PERSON = "teleop:"


@dataclass(frozen=True)
class Glimpse:
    """What is seen of the commander at a moment: its state, why, who drives; and whether the task says that it is done."""

    state: str
    reason: str
    source: str
    success: bool = False


class TrialWatch:
    """One trial, from the engagement on; `began_s` and every `now_s` are of one monotonic clock.

    `interventions` counts how often a person's device took the arm over, `reason` is the commander's at a bad end.
    """

    def __init__(self, began_s: float, timeout_s: float) -> None:
        self._began_s, self._timeout_s = began_s, timeout_s
        self._held_since_s: float | None = None
        self._by_person = False
        self.interventions = 0
        self.reason = ""

    def elapsed_s(self, now_s: float) -> float:
        """Since the engagement."""
        return now_s - self._began_s

    def look(self, now_s: float, seen: Glimpse) -> str:
        """How the trial has ended: success, fault, refused, held or timeout; empty while it goes on."""
        by_person = seen.source.startswith(_BY_PERSON)
        self.interventions += by_person and not self._by_person
        self._by_person = by_person
        if seen.success:
            return SUCCESS
        if ended := self._stopped(now_s, seen):
            self.reason = seen.reason
            return ended
        return TIMEOUT if self.elapsed_s(now_s) > self._timeout_s else ""

    def _stopped(self, now_s: float, seen: Glimpse) -> str:
        if self.elapsed_s(now_s) <= _SETTLED_S:
            return ""
        if seen.state != "HOLDING":
            self._held_since_s = None
        elif self._held_since_s is None:
            self._held_since_s = now_s
        elif now_s - self._held_since_s > _MAX_HOLD_S:
            return HELD
        return {"FAULT": FAULT, "IDLE": REFUSED}.get(seen.state, "")
