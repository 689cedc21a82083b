"""Paired comparisons against sums done by hand."""

from __future__ import annotations

import pytest

from hpt_ros.evaluation.comparison import compare_all
from hpt_ros.evaluation.trials import Trial

NAMES = {"a": "runs/a", "b": "runs/b", "c": "runs/c"}


def trials(key: str, *scores: float, first_block: int = 0) -> list[Trial]:
    return [
        Trial(
            *(block, block, score, "success" if score == 1.0 else "timeout", 2.0),
            *(15.0, 8.0, 9.0, 100.0, 0.5, 12.0, 0, 0, 1.0),
            checkpoint=key,
            block=block,
        )
        for block, score in enumerate(scores, first_block)
    ]


def compared(*found: list[Trial], names: str = "ab"):
    return compare_all([t for some in found for t in some], {key: NAMES[key] for key in names})


def test_pairs_are_trials_of_one_start():
    # pairs (0, 1), (0.5, 1), (1, 1), (1, 0): wins of b 2, of a 1; score differences 1, 0.5, 0, -1
    (found,) = compared(trials("a", 0.0, 0.5, 1.0, 1.0), trials("b", 1.0, 1.0, 1.0, 0.0))
    assert (found.pairs, found.wins, found.losses) == (4, 2, 1)
    assert found.success_difference == pytest.approx(0.25)
    assert found.score_difference == pytest.approx(0.5 / 4)
    assert found.p_success == pytest.approx(1.0)
    assert found.p_score == pytest.approx(1.0)
    low, high = found.score_interval
    assert -1.0 <= low < 0.125 < high <= 1.0


def test_partly_counts_for_the_score_and_not_for_success():
    (found,) = compared(trials("a", *[0.0] * 6), trials("b", *[0.5] * 6))
    assert (found.wins, found.losses) == (0, 0)
    assert found.p_success == 1.0
    assert found.p_score == pytest.approx(2 / 2**6)


def test_starts_that_only_one_was_tried_from_are_left_out():
    (found,) = compared(trials("a", 1.0, 1.0, 1.0), trials("b", 0.0, 0.0, first_block=2))
    assert found.pairs == 1
    (nothing,) = compared(trials("a", 1.0), trials("b", 1.0, first_block=5))
    assert nothing.findings() == ["runs/a and runs/b have no start in common: nothing can be compared."]


def test_what_is_shown_is_said():
    (found,) = compared(trials("a", *[0.0] * 10), trials("b", *[1.0] * 10))
    assert found.p_success == pytest.approx(2 / 2**10)
    assert "Shown: runs/b succeeds more often than runs/a" in found.findings()[1]
    (other,) = compared(trials("a", *[1.0] * 10), trials("b", *[0.0] * 10))
    assert "Shown: runs/a succeeds more often than runs/b" in other.findings()[1]


def test_what_cannot_be_said_is_said_with_what_would_settle_it():
    (few,) = compared(trials("a", 0.0, 0.0, 0.0, 0.0, 0.0), trials("b", 1.0, 1.0, 1.0, 1.0, 1.0))
    text = "\n".join(few.findings())
    assert few.p_success == pytest.approx(0.0625)
    assert "Not shown" in text
    assert "no proof that they are equal" in text
    assert "5 pairs are too few to show any difference reliably" in text
    assert "about 6 pairs (1 more)" in text
    (equal,) = compared(trials("a", *[1.0] * 20), trials("b", *[1.0] * 20))
    assert "no number of further trials can be estimated" in "\n".join(equal.findings())


def test_several_comparisons_are_corrected_for():
    found = compared(
        trials("a", *[0.0] * 6), trials("b", *[1.0] * 6), trials("c", *[1.0] * 5, 0.0), names="abc"
    )  # p: a-b 0.03125, a-c 0.0625, b-c 1
    assert [c.p_success for c in found] == pytest.approx([0.03125, 0.0625, 1.0])
    assert [c.p_adjusted for c in found] == pytest.approx([0.09375, 0.125, 1.0])
    assert not found[0].shown
    assert "corrected for several comparisons" in found[0].findings()[1]
