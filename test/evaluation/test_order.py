from __future__ import annotations

from itertools import islice

import pytest

from hpt_ros.errors import ConfigError
from hpt_ros.evaluation.order import missing, planned_trials


def first(count: int, candidates: int, seed: int = 0):
    return list(islice(planned_trials(candidates, seed), count))


def test_every_block_holds_every_checkpoint_once():
    plan = first(30, 3)
    assert [trial.index for trial in plan] == list(range(30))
    for block in range(10):
        assert sorted(t.candidate for t in plan if t.block == block) == [0, 1, 2]


def test_the_order_is_the_seeds_and_a_longer_run_begins_alike():
    assert first(20, 2) == first(40, 2)[:20]
    assert first(40, 2, seed=1) != first(40, 2)


def test_the_place_within_a_block_favours_nobody():
    opens = [trial.candidate for trial in first(800, 2) if trial.index % 2 == 0]
    assert 160 < sum(opens) < 240  # 400 fair coins, 4 standard deviations


def test_what_does_not_count_is_tried_again():
    plan = first(4, 2)
    assert [trial.index for trial in missing(plan, [0, 3])] == [1, 2]


def test_at_least_one_checkpoint():
    with pytest.raises(ConfigError, match="checkpoints"):
        first(1, 0)
