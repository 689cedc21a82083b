"""Two checkpoints tried from the same starts: what the trials show, what they do not, and how many more would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from hpt_ros.evaluation.statistics import bootstrap_interval, detectable_difference, holm, pairs_needed, sign_test
from hpt_ros.evaluation.trials import Trial

ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Comparison:
    """`second` against `first`, over the blocks that hold a trial of both.

    `wins`: pairs that only the second succeeded in, `losses`: only the first. `p_success` is McNemar's exact test,
    `p_score` the sign test on score differences; `p_adjusted` the first of them, corrected by Holm for all comparisons
    of the report. Differences are second minus first, with 95 % bootstrap intervals.
    """

    first: str
    second: str
    pairs: int
    wins: int
    losses: int
    success_difference: float
    success_interval: tuple[float, float]
    score_difference: float
    score_interval: tuple[float, float]
    p_success: float
    p_score: float
    p_adjusted: float
    detectable: float | None
    needed: int | None

    @property
    def shown(self) -> bool:
        """Whether one succeeds more often than the other beyond chance."""
        return self.p_adjusted <= ALPHA

    def findings(self) -> list[str]:
        """What is shown, what cannot be said, and what would settle it, in sentences."""
        if not self.pairs:
            return [f"{self.first} and {self.second} have no start in common: nothing can be compared."]
        return [self._difference(), self._verdict(), *self._sensitivity()]

    def _difference(self) -> str:
        low, high = self.score_interval
        return (
            f"Over {self.pairs} pairs {self.second} scored {self.score_difference:+.2f} against {self.first} "
            f"(95 % bootstrap interval {low:+.2f} to {high:+.2f}); it alone succeeded in {self.wins}, "
            f"the other alone in {self.losses}, and {self.pairs - self.wins - self.losses} ended alike."
        )

    def _verdict(self) -> str:
        p = f"p = {self.p_success:.3g}"
        if self.p_adjusted != self.p_success:
            p += f", {self.p_adjusted:.3g} corrected for several comparisons"
        if self.shown:
            better, other = (self.second, self.first) if self.wins > self.losses else (self.first, self.second)
            return f"Shown: {better} succeeds more often than {other} (exact McNemar test, {p})."
        return (
            f"Not shown: that one succeeds more often than the other (exact McNemar test, {p}). "
            "That is no proof that they are equal."
        )

    def _sensitivity(self) -> list[str]:
        if self.detectable is None:
            lines = [f"{self.pairs} pairs are too few to show any difference reliably, however large."]
        else:
            lines = [
                f"With {self.pairs} pairs, a true difference below {100 * self.detectable:.0f} points is overlooked more often than "
                f"in 1 of 5 such comparisons (exact power {POWER:.0%}, at best: no pair goes the other way)."
            ]
        if self.shown:
            return lines
        if self.wins == self.losses:
            return [*lines, "No difference of success was seen, so that no number of further trials can be estimated."]
        if self.needed is None:
            return [*lines, "If the true difference is as small as the one seen, more than 5000 pairs would be needed."]
        more = max(self.needed - self.pairs, 0)
        return [
            *lines,
            f"If the true shares are those seen, about {self.needed} pairs ({more} more) would show it in 4 of 5 such comparisons.",
        ]


def compare_all(trials: Sequence[Trial], names: Mapping[str, str], seed: int = 0) -> list[Comparison]:
    """Every pair of checkpoints in the order of `names` (name by the trials' `checkpoint`)."""
    found = [_compare(trials, names, first, second, seed) for first, second in combinations(names, 2)]
    adjusted = holm([comparison.p_success for comparison in found])
    return [replace(comparison, p_adjusted=p) for comparison, p in zip(found, adjusted, strict=True)]


def _compare(trials: Sequence[Trial], names: Mapping[str, str], first: str, second: str, seed: int) -> Comparison:
    scores = {key: {trial.block: trial.score for trial in trials if trial.checkpoint == key} for key in (first, second)}
    blocks = sorted(scores[first].keys() & scores[second].keys())
    pairs = np.array([[scores[first][block], scores[second][block]] for block in blocks]).reshape(-1, 2)
    gain, success = pairs[:, 1] - pairs[:, 0], (pairs == 1.0).astype(int)
    won = success[:, 1] - success[:, 0]
    count, wins, losses = len(pairs), int((won > 0).sum()), int((won < 0).sum())
    return Comparison(
        first=names[first],
        second=names[second],
        pairs=count,
        wins=wins,
        losses=losses,
        success_difference=float(won.mean()) if count else 0.0,
        success_interval=bootstrap_interval(won, seed) if count else (-1.0, 1.0),
        score_difference=float(gain.mean()) if count else 0.0,
        score_interval=bootstrap_interval(gain, seed) if count else (-1.0, 1.0),
        p_success=sign_test(wins, losses),
        p_score=sign_test(int((gain > 0).sum()), int((gain < 0).sum())),
        p_adjusted=1.0,
        detectable=detectable_difference(count, power=POWER, alpha=ALPHA) if count else None,
        needed=pairs_needed(wins / count, losses / count, POWER, ALPHA) if count else None,
    )
