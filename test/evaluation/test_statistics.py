"""Every sum against one done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpt_ros.evaluation.statistics import (
    bootstrap_interval,
    detectable_difference,
    holm,
    paired_power,
    pairs_needed,
    sign_test,
)


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),
        (5, 0, 2 / 2**5),  # 0.0625: five pairs never show anything
        (6, 0, 2 / 2**6),
        (0, 6, 2 / 2**6),
        (8, 1, 2 * (1 + 9) / 2**9),
        (10, 5, 2 * (1 + 15 + 105 + 455 + 1365 + 3003) / 2**15),
        (4, 4, 1.0),
    ],
)
def test_sign_test(wins, losses, p):
    assert sign_test(wins, losses) == pytest.approx(p, rel=1e-12)


def test_bootstrap_is_near_the_normal_interval_and_repeats_itself():
    scores = np.repeat([0.0, 0.5, 1.0], [10, 20, 30])
    low, high = bootstrap_interval(scores, seed=3)
    # mean 40/60; variance (10 * 0.4444 + 20 * 0.0278 + 30 * 0.1111) / 60 = 0.1389
    spread = 1.96 * math.sqrt(0.138889 / 60)
    assert (low, high) == pytest.approx((40 / 60 - spread, 40 / 60 + spread), abs=0.012)
    assert bootstrap_interval(scores, seed=3) == (low, high)


def test_bootstrap_of_two_values_knows_three_means():
    # 0 and 1: means 0, 0.5, 1 with 1/4, 1/2, 1/4: the 2.5 % and 97.5 % quantiles are the ends
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)
    assert bootstrap_interval([1.0]) == (1.0, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]


def test_power_by_hand():
    # six pairs, all of them wins with certainty: always rejected
    assert paired_power(6, 1.0, 0.0) == pytest.approx(1.0)
    # p(6 wins of 6) = 0.9^6 is the only way to p <= 0.05
    assert paired_power(6, 0.9, 0.0) == pytest.approx(0.9**6)
    # 6 of 6, or 0 of 6
    assert paired_power(6, 0.8, 0.2) == pytest.approx(0.8**6 + 0.2**6)
    # 7 pairs: seven untied wins, or six untied wins and a tie
    assert paired_power(7, 0.8, 0.0) == pytest.approx(0.8**7 + 7 * 0.8**6 * 0.2)
    assert paired_power(5, 1.0, 0.0) == 0.0
    assert paired_power(20, 0.0, 0.0) == 0.0


def test_power_agrees_with_drawing():
    rng = np.random.default_rng(0)
    draws = rng.choice([1, -1, 0], size=(4000, 40), p=[0.3, 0.1, 0.6])
    shown = np.mean([sign_test(int((d > 0).sum()), int((d < 0).sum())) <= 0.05 for d in draws])
    assert paired_power(40, 0.3, 0.1) == pytest.approx(shown, abs=0.025)


def test_pairs_needed_is_where_the_power_suffices():
    needed = pairs_needed(0.3, 0.1)
    assert needed is not None
    assert paired_power(needed, 0.3, 0.1) >= 0.8 > paired_power(needed - 1, 0.3, 0.1)
    # Connor's normal approximation: (1.96 sqrt(0.4) + 0.84 sqrt(0.4 - 0.04))^2 / 0.04 = 76; exact tests need a few more
    assert 76 <= needed <= 90
    assert pairs_needed(0.2, 0.2) is None
    assert pairs_needed(0.101, 0.1) is None


def test_the_smallest_difference_that_can_be_seen():
    # six pairs need w^6 >= 0.8: w = 0.9635
    assert detectable_difference(6) == pytest.approx(0.8 ** (1 / 6), abs=0.003)
    assert detectable_difference(5) is None
    twenty, fifty = detectable_difference(20), detectable_difference(50)
    assert twenty is not None
    assert fifty is not None
    assert fifty < twenty < 0.5
