"""Hand-guiding: the person moves the arm itself, under a gravity compensation controller; nothing is commanded.

A demonstration's action is then the measured state one row later, as for any kinesthetic teaching: row i at tick t is the
measured state at `t + (i + 1) * period`. The recorder records joints and cameras as always.
"""

from __future__ import annotations

from hpt_ros.embodiment import Embodiment
from hpt_ros.teleop.arm_view import ArmView
from hpt_ros.teleop.state_machine import Event, State, after

_LETTING_GO = ("", "IDLE", "FAULT")


class HandGuiding:
    """Says whether the arm may be moved by hand: its joints are measured and the commander does not command it."""

    def __init__(self, embodiment: Embodiment) -> None:
        self.arm = ArmView(embodiment)
        self._topic = embodiment.joints.topic
        self.state, self.reason = State.WAITING, "start-up"

    def tick(self, now_s: float) -> None:
        """Look at the commander and at the joints."""
        for event, reason in self._look(now_s):
            self.state, self.reason = after(self.state, event), reason

    def _look(self, now_s: float) -> list[tuple[Event, str]]:
        commander = self.arm.commander(now_s)
        if commander not in _LETTING_GO:
            return [(Event.REFUSE, f"the commander is {commander}: disengage it before the arm is moved by hand")]
        if self.arm.commanded(now_s) is not None:  # heard before the commander's status, or from another node
            return [(Event.REFUSE, "the arm is commanded: stop what commands it before the arm is moved by hand")]
        if self.arm.measured(now_s) is None:
            return [(Event.SILENCE, f"no fresh joint states on {self._topic}")]
        return [(Event.NEUTRAL, ""), (Event.DRIVE, "the measured state is the demonstration; nothing is commanded")]
