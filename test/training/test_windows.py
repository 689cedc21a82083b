from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import DataError, FingerprintError
from hpt_ros.training.order import Order
from hpt_ros.training.windows import Windows, all_episodes, chosen_by, data_hash, hold_out, scored_at_least


def test_whole_episodes_are_held_out(demos: Any) -> None:
    training, held_out = hold_out(all_episodes([demos, demos]), 0.3, seed=0)
    assert (len(training), len(held_out)) == (14, 6)
    assert {(e.start, e.stop) for e in training + held_out} <= {(e.start, e.stop) for e in demos.episodes}
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


def test_every_task_is_held_out_in_proportion(demos: Any) -> None:
    tasks = ["reach"] * 6 + ["lift"] * 3 + ["push"]
    mixed = replace(demos, episodes=tuple(e._replace(task=t) for e, t in zip(demos.episodes, tasks, strict=True)))
    for seed in range(5):
        held = Counter(e.task for e in hold_out(all_episodes([mixed]), 0.3, seed)[1])
        assert held == {"reach": 2, "lift": 1}
    assert len({e.start for seed in range(9) for e in hold_out(all_episodes([mixed]), 0.3, seed)[1]}) > 3


def test_poorly_scored_episodes_are_left_out_and_none_left_is_refused(demos: Any) -> None:
    scored = replace(demos, episodes=tuple(e._replace(score=i / 10) for i, e in enumerate(demos.episodes)))
    assert len(scored_at_least(all_episodes([scored]), 0.5)) == 5
    with pytest.raises(DataError, match=r"no episode is left: all 10 are scored below 0.95, the best 0.9"):
        scored_at_least(all_episodes([scored]), 0.95)


def test_windows_are_chosen_by_who_gave_the_next_command(demos: Any) -> None:
    flags = np.zeros(len(demos.state), bool)
    flags[15:18] = flags[23] = True  # of episode 1, to its last tick
    told = replace(demos, intervention=flags)
    windows = {way: Windows(chosen_by(all_episodes([told]), way), None) for way in ("keep", "drop", "only")}
    ticks = {way: [windows[way].name(i) for i in range(len(windows[way]))] for way in windows}
    assert [name.split(", ")[1] for name in ticks["only"]] == [f"tick {i} of 12" for i in (2, 3, 4, 10, 11)]
    assert sorted(ticks["drop"] + ticks["only"]) == sorted(ticks["keep"])
    expected, found = demos.window(14), windows["only"].batch([0])
    assert np.array_equal(found.action[0], expected.action)  # type: ignore[index]
    assert np.array_equal(windows["only"].weights(1.0), np.ones(5))  # type: ignore[arg-type]


def test_sets_that_do_not_tell_of_interventions_or_have_none_are_refused(demos: Any) -> None:
    episodes = all_episodes([demos])
    assert chosen_by(episodes, "keep") == episodes
    with pytest.raises(DataError, match="does not tell which commands were interventions"):
        chosen_by(episodes, "drop")
    without = replace(demos, intervention=np.zeros(len(demos.state), bool))
    with pytest.raises(DataError, match="no tick is left with interventions: only"):
        chosen_by(all_episodes([without]), "only")


def test_every_window_comes_once_before_any_comes_twice() -> None:
    order = Order(10, 4, seed=0)
    batches = [order.batch(step) for step in range(5)]
    assert set(Counter(np.concatenate(batches).tolist()).values()) == {2}
    assert not np.array_equal(np.sort(np.concatenate(batches[:2])), np.arange(8))
    other = Order(10, 4, seed=1)
    assert any(not np.array_equal(a, other.batch(step)) for step, a in enumerate(batches))


def test_any_step_can_be_repeated_without_those_before_it() -> None:
    order = Order(10, 4, seed=3)
    batches = [order.batch(step) for step in range(12)]
    for step in (11, 2, 7):
        assert np.array_equal(Order(10, 4, seed=3).batch(step), batches[step])


def test_a_batch_may_be_larger_than_the_set() -> None:
    assert Counter(Order(3, 7, seed=0).batch(0).tolist()).total() == 7


def test_windows_are_drawn_in_proportion_to_their_weights(demos: Any) -> None:
    scored = replace(demos, episodes=tuple(e._replace(score=0.5 if i else 1.0) for i, e in enumerate(demos.episodes)))
    windows = Windows(all_episodes([scored]))
    assert windows.weights(0) is None
    order = Order(len(windows), 50, 0, windows.weights(2.0))
    drawn = np.concatenate([order.batch(step) for step in range(400)])
    assert np.mean(drawn < 12) == pytest.approx(1 / (1 + 9 / 4), rel=0.05)
    unscored = replace(demos, episodes=tuple(e._replace(score=0.0) for e in demos.episodes))
    with pytest.raises(DataError, match="weight 0"):
        Order(120, 4, 0, Windows(all_episodes([unscored])).weights(1.0))


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
