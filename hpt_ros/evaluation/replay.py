"""Open-loop replay: what a policy answers to recorded observations, against what was done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.configuration import check
from hpt_ros.control.actions import action_space
from hpt_ros.demos import Demos
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class Actor(Protocol):
    """What is replayed: `hpt_ros.model.PolicyRunner`, or anything that answers an observation with a chunk (H, A)."""

    def act(self, observation: Any) -> NDArray[np.float32]: ...
    def seed(self, seed: int) -> None: ...


@dataclass(frozen=True)
class EpisodeReplay:
    """One episode of N ticks, in the columns of the policy's chunks: differences are added to the state on both sides.

    predicted, recorded: float32 (N, H, P), row i is the command in force i + 1 periods after the tick; valid: bool (N, H),
    False where the episode had ended; in_force: float32 (N, P), the command in force at the tick.
    """

    episode: int
    predicted: NDArray[np.float32]
    recorded: NDArray[np.float32]
    valid: NDArray[np.bool_]
    in_force: NDArray[np.float32]


@dataclass(frozen=True)
class ColumnErrors:
    """Absolute errors of one column, in its unit: rad, m, or 1 for entries of a rotation matrix.

    mean, p95, max: over the rows that the robot would execute; *_by_row: the same by horizon row (H,).
    standing_still: mean over the same rows of a policy that repeats the command in force.
    """

    name: str
    unit: str
    mean: float
    p95: float
    max: float
    standing_still: float
    mean_by_row: tuple[float, ...]
    p95_by_row: tuple[float, ...]
    max_by_row: tuple[float, ...]


def select_episodes(text: str, count: int) -> list[int]:
    """Indices out of "0,3,5-9"; empty text is all of `count`.

    Raises:
        ConfigError: something else, or an episode that is not there.
    """
    if not text:
        return list(range(count))
    chosen: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        check(first <= last < count, "--episodes", text, f"numbers and ranges from 0 to {count - 1}, such as 0,3,5-9")
        chosen += range(first, last + 1)
    return sorted(set(chosen))


def replay_episodes(
    actor_for: Callable[[str], Actor], demos: Demos, episodes: Iterable[int], progress: Callable[[int], None]
) -> list[EpisodeReplay]:
    """Show the policy every tick of the episodes as training does: before an episode's start the first tick is repeated.

    `actor_for` gives the policy for an instruction; `progress` is called with the episodes done.
    """
    replays = []
    for done, index in enumerate(episodes):
        progress(done)
        replays.append(_replay_episode(actor_for(demos.episodes[index].instruction), demos, index))
    return replays


def column_errors(replays: Sequence[EpisodeReplay], embodiment: Embodiment) -> list[ColumnErrors]:
    """Errors by action column over all ticks of the episodes; rows after an episode's end do not count.

    Raises:
        DataError: the episodes are too short to compare anything.
    """
    predicted, recorded, valid, in_force = (
        np.concatenate([getattr(replay, part) for replay in replays])
        for part in ("predicted", "recorded", "valid", "in_force")
    )
    rows = int(valid.any(axis=0).sum())
    if rows == 0:
        raise DataError("the episodes have one tick each: there is nothing after it to compare with")
    still = np.abs(recorded - in_force[:, None])
    error = np.abs(predicted - recorded)
    executed = valid.copy()
    executed[:, embodiment.policy.execute_rows :] = False
    return [
        _column(column.name, column.unit, error[..., i], still[..., i], valid[:, :rows], executed)
        for i, column in enumerate(embodiment.chunk_columns)
    ]


def above(columns: Iterable[ColumnErrors], limits: dict[str, float]) -> list[str]:
    """Sentences on the columns whose p95 lies above the limit of their unit."""
    return [
        f"{c.name}: 95 % of the errors are below {c.p95:.4f} {c.unit}, allowed: {limits[c.unit]:g} {c.unit}"
        for c in columns
        if c.unit in limits and not c.p95 <= limits[c.unit]
    ]


def _replay_episode(actor: Actor, demos: Demos, index: int) -> EpisodeReplay:
    episode = demos.episodes[index]
    actor.seed(0)  # of heads that draw: an episode's result does not depend on those before it
    space = action_space(demos.embodiment)
    predicted, windows = [], []
    for tick in range(episode.start, episode.stop):
        window = demos.window(tick)
        predicted.append(actor.act(window))
        windows.append((space.decode(window.action, window.state[-1]), window.valid))
    if not windows:
        raise DataError(f"{demos.path}: episode {index} has no tick", "choose other --episodes")
    return EpisodeReplay(
        episode=index,
        predicted=np.stack(predicted),
        recorded=np.stack([action for action, _ in windows]),
        valid=np.stack([valid for _, valid in windows]),
        in_force=_in_force(demos, slice(episode.start, episode.stop)),
    )


def _in_force(demos: Demos, ticks: slice) -> NDArray[np.float32]:
    space, state = action_space(demos.embodiment), demos.state[ticks]
    return space.decode(space.encode(demos.command[ticks][:, None], state), state)[:, 0]


def _column(
    name: str,
    unit: str,
    error: NDArray[np.float32],
    still: NDArray[np.float32],
    valid: NDArray[np.bool_],
    executed: NDArray[np.bool_],
) -> ColumnErrors:
    by_row = [_figures(error[keep, row]) for row, keep in enumerate(valid.T)]
    mean, p95, highest = zip(*by_row, strict=True)
    return ColumnErrors(name, unit, *_figures(error[executed]), float(still[executed].mean()), mean, p95, highest)


def _figures(errors: NDArray[np.float32]) -> tuple[float, float, float]:
    """Mean, p95 and largest."""
    return float(errors.mean()), float(np.percentile(errors, 95)), float(errors.max())
