"""What the arm has been told: motion a few ticks ahead of now, and a brake after it.

Every message holds the motion up to the horizon, then the brake from there to rest. A tick that comes late by less than a
period, or one that is missed, disturbs nothing; when more stay away the arm decelerates by its own interpolation, and
the next tick goes on from where that will have brought it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.limiter import JointState, LimitedCommand, Limiter
from hpt_ros.control.schedule import Reference

Array = NDArray[np.float64]
LEAD_TICKS = 3  # two would do for ticks that are never missed; the third is the reaction time paid for one that is


@dataclass(frozen=True)
class ArmCommand:
    """One message to the arm: (seconds after `stamp_ns`, position (J,) [rad], velocity (J,) [rad/s]), the last velocity 0."""

    stamp_ns: int
    points: tuple[tuple[float, Array, Array], ...]


class Horizon:
    """Keeps the limiter `LEAD_TICKS` periods ahead of now, on a grid of its own that a late tick does not shift."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self._period_ns = round(limiter.period_s * 1e9)
        self._states: deque[JointState] = deque(maxlen=LEAD_TICKS)
        self._command: LimitedCommand | None = None
        self.end_ns = 0

    def start(self, now_ns: int, q: Array) -> None:
        """Hold the measured joints `q` (J,) [rad].

        Raises:
            UnsafeRequestError: the limiter does not start from there.
        """
        self.limiter.reset(q)
        self.end_ns = now_ns + (LEAD_TICKS - 1) * self._period_ns
        self._states.extend([self._state] * LEAD_TICKS)
        self._command = None

    @property
    def position(self) -> Array:
        """The joints (J,) [rad] that the arm was told to be at soonest, less than a period from now."""
        return self._states[0].q

    @property
    def end(self) -> JointState:
        """The state at `end_ns`."""
        return self._state

    def advance(self, now_ns: int, wanted: Callable[[int], Reference | None]) -> tuple[str, ...]:
        """Fill the horizon; `wanted` is asked for the reference at each new time, None means brake.

        The answer is the kinds of limits because of which the limiter altered what was wanted.
        """
        missing = round((now_ns + self._period_ns - self.end_ns) / self._period_ns)
        if missing > 0:  # until this tick's message takes effect the arm has nothing left but the brake
            self._command = self.limiter.brake(missing)
            self.end_ns += missing * self._period_ns
            self._states.append(self._state)
        limits: tuple[str, ...] = ()
        while self.end_ns < now_ns + LEAD_TICKS * self._period_ns - self._period_ns // 2:
            self.end_ns += self._period_ns
            reference = wanted(self.end_ns)
            if reference is None:
                self._command = self.limiter.brake()
            else:
                self._command = self.limiter.step(reference.position, reference.velocity, reference.acceleration)
                limits += self._command.limits
            self._states.append(self._state)
        return limits

    def command(self, settled_ns: int = 0) -> ArmCommand:
        """The message for this tick. Before `settled_ns` it is one point at that time: the arm eases over to a hold."""
        stamp_ns = self.end_ns - LEAD_TICKS * self._period_ns
        if settled_ns > stamp_ns + self._period_ns:
            return ArmCommand(
                stamp_ns, (((settled_ns - stamp_ns) * 1e-9, self._state.q, np.zeros_like(self._state.q)),)
            )
        period_s = self._period_ns * 1e-9
        points = [((i + 1) * period_s, state.q, state.dq) for i, state in enumerate(self._states)]
        brake = self._command.brake if self._command else ()
        points += [(LEAD_TICKS * period_s + time_s, q, dq) for time_s, q, dq in brake]
        time_s, q, dq = points[-1]
        points[-1] = (time_s, q, np.zeros_like(dq))  # at rest but for rounding
        return ArmCommand(stamp_ns, tuple(points))

    @property
    def _state(self) -> JointState:
        state = self.limiter.state
        assert state is not None, "started"
        return state
