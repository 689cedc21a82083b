"""How often which set is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.errors import DataError
from hpt_ros.training.pretraining.sampling import Sampler, probabilities

SIZES = (100, 400, 2500)
STEPS = 2000


def chi_square(counts: np.ndarray, exponent: float) -> float:
    expected = probabilities(SIZES, exponent) * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_frequencies_follow_size_to_the_exponent_and_no_other(exponent: float) -> None:
    sampler = Sampler(SIZES, exponent, draws=3, batch_size=1, seed=0)
    sources = [draw.source for step in range(STEPS) for draw in sampler.draws(step)]
    counts = np.bincount(sources, minlength=len(SIZES))
    assert chi_square(counts, exponent) < 13.8  # 2 degrees of freedom, 0.1 %
    for other in {0.0, 0.5, 1.0} - {exponent}:
        assert chi_square(counts, other) > 100


def test_square_root_of_the_sizes() -> None:
    assert probabilities(SIZES, 0.5) == pytest.approx([10 / 80, 20 / 80, 50 / 80])


def test_windows_are_all_reached_and_not_repeated_in_a_draw() -> None:
    sampler = Sampler((30, 5), 0.5, draws=1, batch_size=10, seed=1)
    seen: dict[int, set[int]] = {0: set(), 1: set()}
    for step in range(60):
        (draw,) = sampler.draws(step)
        assert len(draw.windows) == 10
        assert draw.source == 1 or len(set(draw.windows.tolist())) == 10
        seen[draw.source] |= set(draw.windows.tolist())
    assert seen == {0: set(range(30)), 1: set(range(5))}


def test_a_step_draws_the_same_whatever_was_asked_before() -> None:
    first, second = (Sampler(SIZES, 0.5, draws=2, batch_size=4, seed=7) for _ in range(2))
    first.draws(0)
    for a, b in zip(first.draws(3), second.draws(3), strict=True):
        assert (a.source, a.seed, a.windows.tolist()) == (b.source, b.seed, b.windows.tolist())
    assert [d.seed for d in second.draws(3)] != [d.seed for d in second.draws(4)]


@pytest.mark.parametrize("sizes", [(), (10, 0)])
def test_an_empty_set_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="cannot draw"):
        probabilities(sizes, 0.5)
