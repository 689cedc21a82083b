"""An arm that is pushed about while it moves, and that its commands bring back: demonstrations of how to correct.

Source of the idea: M. Laskey et al., "DART: Noise Injection for Robust Imitation Learning", CoRL 2017. The commands,
which are what is learnt, stay the demonstrator's own.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DISTURBANCE_RAD = 0.03  # standard deviation of each joint's offset at a scale of 1
_KNOT_S = 0.7  # from one offset to the next
_FADE_S = 0.25
_CALM_M, _FADE_M = 0.07, 0.06  # the tool below this height is left alone; this much higher it has all of it


class Disturbance:
    """Offsets of the joint servos that stray smoothly from one random value to the next, the same for the same seed.

    Args:
        scale: 1 strays by `DISTURBANCE_RAD`.
        joints: how many.
    """

    def __init__(self, scale: float, joints: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, joints])
        self._deviation_rad = scale * DISTURBANCE_RAD
        self._before, self._after = np.zeros(joints), self._draw(joints)
        self._phase_s = self._share = 0.0

    def step(self, step_s: float, moving: bool, height_m: float) -> Array:
        """The offset (J,) [rad] after `step_s` more.

        Args:
            moving: whether the arm is to be disturbed at all; it fades in and out.
            height_m: of the tool over the table; it is left alone where it touches things.
        """
        self._phase_s += step_s
        if self._phase_s >= _KNOT_S:
            self._phase_s -= _KNOT_S
            self._before, self._after = self._after, self._draw(len(self._after))
        wanted = min(max((height_m - _CALM_M) / _FADE_M, 0.0), 1.0) if moving else 0.0
        most = step_s / _FADE_S
        self._share += min(max(wanted - self._share, -most), most)
        way = (1 - math.cos(math.pi * self._phase_s / _KNOT_S)) / 2
        offset: Array = self._share * (self._before + way * (self._after - self._before))
        return offset

    def _draw(self, joints: int) -> Array:
        return self._rng.normal(0.0, self._deviation_rad, joints)
