from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import DataError, FingerprintError
from hpt_ros.training.windows import Windows, all_episodes, data_hash, hold_out, shuffled


def test_whole_episodes_are_held_out(demos: Any) -> None:
    training, held_out = hold_out(all_episodes([demos, demos]), 0.3, seed=0)
    assert (len(training), len(held_out)) == (14, 6)
    assert {(e.start, e.stop) for e in training + held_out} <= set(demos.episodes)
    assert len(Windows(training)) + len(Windows(held_out)) == 2 * len(demos.state)
    assert hold_out(all_episodes([demos]), 0.3, seed=1) != hold_out(all_episodes([demos]), 0.3, seed=2)


def test_fraction_zero_keeps_all_and_a_small_one_holds_out_one(demos: Any) -> None:
    assert len(hold_out(all_episodes([demos]), 0.0, seed=0)[1]) == 0
    assert len(hold_out(all_episodes([demos]), 0.01, seed=0)[1]) == 1


def test_a_single_episode_cannot_be_held_out(demos: Any) -> None:
    with pytest.raises(DataError, match="too few"):
        hold_out(all_episodes([replace(demos, episodes=demos.episodes[:1])]), 0.1, seed=0)


def test_batch_holds_the_windows_asked_for(demos: Any) -> None:
    windows = Windows(all_episodes([demos])[1:])
    batch = windows.batch([0, 11])
    assert batch.state.shape == (2, 1, 8)
    assert batch.images["front"].shape == (2, 1, 16, 16, 3)
    for row, tick in enumerate((12, 23)):
        expected = demos.window(tick)
        assert np.array_equal(batch.state[row], expected.state)
        assert np.array_equal(batch.action[row], expected.action)  # type: ignore[index]
        assert np.array_equal(batch.valid[row], expected.valid)  # type: ignore[index]
        assert torch.equal(batch.images["front"][row], torch.from_numpy(expected.images["front"]))


def test_rows_are_those_of_the_episodes_alone(demos: Any) -> None:
    state, command = Windows(all_episodes([demos])[3:5]).rows()
    assert np.array_equal(state, demos.state[36:60])
    assert np.array_equal(command, demos.command[36:60])


def test_every_window_comes_once_before_any_comes_twice() -> None:
    batches = list(islice(shuffled(10, 4, seed=0), 5))
    assert set(Counter(np.concatenate(batches).tolist()).values()) == {2}
    assert not np.array_equal(np.sort(np.concatenate(batches[:2])), np.arange(8))
    again = list(islice(shuffled(10, 4, seed=0), 5))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_a_batch_may_be_larger_than_the_set() -> None:
    assert Counter(next(shuffled(3, 7, seed=0)).tolist()).total() == 7


def test_sets_of_different_embodiments_are_refused(demos: Any) -> None:
    with pytest.raises(FingerprintError, match="action_horizon"):
        all_episodes([demos, replace(demos, embodiment=load_embodiment("sim_panda"))])


def test_nothing_to_learn_from_is_refused(demos: Any) -> None:
    for sets in ([], [replace(demos, episodes=())]):
        with pytest.raises(DataError, match=r"no demonstration set|no episodes"):
            all_episodes(sets)


def test_data_hash_changes_with_the_data(demos: Any) -> None:
    command = demos.command.copy()
    command[5, 2] += 1e-6
    assert data_hash([demos]) == data_hash([replace(demos, command=demos.command.copy())])
    assert data_hash([demos]) != data_hash([replace(demos, command=command)])
    assert data_hash([demos]) != data_hash([replace(demos, episodes=demos.episodes[:-1])])
