"""Intervals, exact paired tests and sample sizes for a few trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
_TOO_MANY_PAIRS = 5_000  # nobody runs more trials by hand; the search ends here


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a success rate; `z` defaults to 95 % confidence. (0, 1) without trials.

    Source: E. B. Wilson, JASA 22 (1927), equation 4.
    """
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def bootstrap_interval(values: ArrayLike, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values (N,), N >= 1; the same seed gives the same interval.

    Values that are all alike give an interval without width: the bootstrap knows nothing that it has not seen.
    Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    """
    found = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(found), (RESAMPLES, len(found)))
    low, high = np.quantile(found[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p of as uneven a split if wins and losses were equally likely; ties are left out before.

    On pairs of successes and failures this is McNemar's exact test.
    Source: Q. McNemar, Psychometrika 12 (1947); W. J. Conover, "Practical Nonparametric Statistics", section 3.4.
    """
    total, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(total, k) for k in range(fewer + 1)) / 2**total
    return float(min(1.0, 2 * tail))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of several comparisons, adjusted so that all together are wrong as rarely as one.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(np.argsort(p_values)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def paired_power(pairs: int, win_rate: float, loss_rate: float, alpha: float = 0.05) -> float:
    """Probability that `sign_test` on so many pairs ends at or below `alpha`, exactly.

    `win_rate` and `loss_rate` are the shares of pairs that only one and only the other of the two wins.
    """
    differing = win_rate + loss_rate
    if differing <= 0:
        return 0.0
    untied = _binomial(pairs, min(differing, 1.0))
    power = 0.0
    for count in np.flatnonzero(untied > 1e-12):
        split = _binomial(int(count), win_rate / differing)
        power += float(untied[count]) * _rejected(split, alpha)
    return power


def pairs_needed(win_rate: float, loss_rate: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """About how many pairs show such a difference with that probability; None: more than 5000, or no difference."""

    def enough(pairs: int) -> bool:
        return paired_power(pairs, win_rate, loss_rate, alpha) >= power

    if math.isclose(win_rate, loss_rate):
        return None
    high = 4
    while not enough(high):
        high *= 2
        if high > _TOO_MANY_PAIRS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable_difference(pairs: int, loss_rate: float = 0.0, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest difference of success rates that so many pairs show with that probability; None: not even 100 points."""
    highest = 1.0 - loss_rate
    if paired_power(pairs, highest, loss_rate, alpha) < power:
        return None
    low, high = loss_rate, highest
    while high - low > 0.002:
        middle = (low + high) / 2
        low, high = (low, middle) if paired_power(pairs, middle, loss_rate, alpha) >= power else (middle, high)
    return high - loss_rate


def _binomial(count: int, rate: float) -> NDArray[np.float64]:
    """Probabilities (count + 1,) of 0 to `count` hits."""
    if rate <= 0 or rate >= 1:
        certain = np.zeros(count + 1)
        certain[count if rate >= 1 else 0] = 1.0
        return certain
    hits = np.arange(count + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    choose = logs[count] - logs[hits] - logs[count - hits]
    result: NDArray[np.float64] = np.exp(choose + hits * math.log(rate) + (count - hits) * math.log1p(-rate))
    return result


def _rejected(split: NDArray[np.float64], alpha: float) -> float:
    """Probability of the splits whose sign test ends at or below `alpha`."""
    total = len(split) - 1
    tails = np.cumsum(_binomial(total, 0.5))
    fewest = int(
        np.searchsorted(tails * 2, alpha * (1 + 1e-9), side="right")
    )  # splits 0 .. fewest - 1 are uneven enough
    if fewest == 0:
        return 0.0
    return float(split[:fewest].sum() + split[total - fewest + 1 :].sum())
