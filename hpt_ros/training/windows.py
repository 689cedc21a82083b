"""Batches of training windows out of demonstration sets."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.control.actions import action_space
from hpt_ros.demos.demos import window_rows
from hpt_ros.embodiment import Embodiment, require_same
from hpt_ros.errors import DataError
from hpt_ros.model import Batch
from hpt_ros.model.language import InstructionCache
from hpt_ros.training.augmentation import changed, draw
from hpt_ros.training.config import AugmentationConfig, Interventions

if TYPE_CHECKING:
    from hpt_ros.training.features import CachedFeatures


class EpisodeLike(Protocol):
    """Ticks [start, stop) of a set."""

    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...
    @property
    def instruction(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def task(self) -> str: ...
    @property
    def source(self) -> str: ...


class WindowLike(Protocol):
    """One training sample: state (T, S), images by camera (T, H, W, 3), depth by camera (T, H, W), action (rows, A), valid (rows,)."""

    @property
    def state(self) -> NDArray[np.float32]: ...
    @property
    def images(self) -> Mapping[str, NDArray[np.uint8]]: ...
    @property
    def depth(self) -> Mapping[str, NDArray[np.uint16]]: ...
    @property
    def action(self) -> NDArray[np.float32]: ...
    @property
    def valid(self) -> NDArray[np.bool_]: ...


class DemosLike(Protocol):
    """What training reads of a demonstration set (`hpt_ros.demos.Demos`)."""

    @property
    def path(self) -> Path: ...
    @property
    def embodiment(self) -> Embodiment: ...
    @property
    def episodes(self) -> Sequence[EpisodeLike]: ...
    @property
    def state(self) -> NDArray[np.float32]: ...
    @property
    def command(self) -> NDArray[np.float32]: ...
    @property
    def intervention(self) -> NDArray[np.bool_] | None: ...
    @property
    def images(self) -> Mapping[str, Any]: ...
    @property
    def depth(self) -> Mapping[str, Any]: ...
    def window(self, i: int) -> WindowLike: ...


@dataclass(frozen=True)
class Episode:
    """Ticks [start, stop) of one of several sets; `ticks`: those that are learnt from, all of them unless it is given."""

    demos: DemosLike
    start: int
    stop: int
    instruction: str = ""
    score: float = 1.0
    task: str = ""
    source: str = ""
    ticks: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not self.ticks:
            object.__setattr__(self, "ticks", range(self.start, self.stop))

    def name(self, tick: int) -> str:
        """A tick of the set, for a person."""
        return f"{self.demos.path}: episode {self.source or self.start}, tick {tick - self.start} of {self.stop - self.start}"


def all_episodes(sets: Sequence[DemosLike]) -> list[Episode]:
    """The episodes of several sets of one embodiment.

    Raises:
        FingerprintError: sets whose tensors differ.
        DataError: no set, or no episode in them.
    """
    if not sets:
        raise DataError("no demonstration set given", "name at least one folder that `hpt-ros convert` wrote")
    for other in sets[1:]:
        require_same(sets[0].embodiment, other.embodiment, str(sets[0].path), str(other.path))
    episodes = [
        Episode(demos, e.start, e.stop, e.instruction, e.score, e.task, e.source)
        for demos in sets
        for e in demos.episodes
        if e.stop > e.start
    ]
    if not episodes:
        raise DataError(f"no episodes in {', '.join(str(demos.path) for demos in sets)}", "record and convert some")
    return episodes


def instructions_of(episodes: Sequence[Episode]) -> list[str]:
    """The instruction of each episode.

    Raises:
        DataError: naming the episodes that have none.
    """
    without = [f"{e.demos.path}: ticks {e.start} to {e.stop - 1}" for e in episodes if not e.instruction.strip()]
    if without:
        raise DataError(
            "the policy follows instructions, and these episodes have none:\n  " + "\n  ".join(without),
            "record with an instruction, exclude the episodes, or remove policy.language",
        )
    return [e.instruction for e in episodes]


def scored_at_least(episodes: Sequence[Episode], least: float) -> list[Episode]:
    """The episodes that are learnt from.

    Raises:
        DataError: none has such a score.
    """
    kept = [e for e in episodes if e.score >= least]
    if not kept:
        best = max(e.score for e in episodes)
        raise DataError(
            f"no episode is left: all {len(episodes)} are scored below {least:g}, the best {best:g}",
            "lower scores.min, or record better ones",
        )
    return kept


def chosen_by(episodes: Sequence[Episode], interventions: Interventions) -> list[Episode]:
    """The episodes with the ticks that are learnt from: by whether a person took over from a policy, see `FinetuneConfig`.

    Raises:
        DataError: no tick is left, or a set does not tell.
    """
    if interventions == "keep":
        return [*episodes]
    found = ((e, _next_flags(e) == (interventions == "only")) for e in episodes)
    kept = [replace(e, ticks=(e.start + np.flatnonzero(picked)).tolist()) for e, picked in found if picked.any()]
    if not kept:
        raise DataError(
            f"no tick is left with interventions: {interventions}",
            "set interventions: keep, or add episodes in which a person took over from a policy",
        )
    return kept


def _next_flags(episode: Episode) -> NDArray[np.bool_]:
    """Bool (ticks,): the first command that follows each tick is an intervention."""
    flags = episode.demos.intervention
    if flags is None:
        raise DataError(
            f"{episode.demos.path} does not tell which commands were interventions",
            "convert its bags again, or set interventions: keep",
        )
    rows = np.arange(episode.start, episode.stop)
    return flags[np.minimum(rows + 1, episode.stop - 1)]


def hold_out(episodes: Sequence[Episode], fraction: float, seed: int) -> tuple[list[Episode], list[Episode]]:
    """Split whole episodes at random into (training, validation), every task in proportion; a fraction above 0 holds out at least one.

    Raises:
        DataError: too few episodes to hold any out.
    """
    count = 0 if fraction == 0 else max(1, round(fraction * len(episodes)))
    if count >= len(episodes):
        raise DataError(
            f"{len(episodes)} episodes are too few to hold out {count} for validation",
            "record more, or set validation.fraction: 0",
        )
    left = _shares(Counter(e.task for e in episodes), count)
    held = set()
    for i in np.random.default_rng(seed).permutation(len(episodes)).tolist():
        if left[episodes[i].task] > 0:
            left[episodes[i].task] -= 1
            held.add(i)
    return (
        [e for i, e in enumerate(episodes) if i not in held],
        [e for i, e in enumerate(episodes) if i in held],
    )


def places_of(episodes: Sequence[Episode], sets: Sequence[DemosLike]) -> list[list[int]]:
    """For each episode the number of its set and its number there."""
    starts = [{e.start: i for i, e in enumerate(demos.episodes) if e.stop > e.start} for demos in sets]
    return [[n, starts[n][e.start]] for e in episodes for n, demos in enumerate(sets) if demos is e.demos]


def _shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """`count` divided in proportion to the sizes; what rounding leaves goes to the largest remainders."""
    total = sum(sizes.values())
    shares = {name: count * size // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(count * sizes[name] % total), name))
    for name in by_remainder[: count - sum(shares.values())]:
        shares[name] += 1
    return shares


class Windows:
    """The windows of some episodes, one per tick, in the order of the episodes.

    With `features` of the images, those are read in the place of pixels.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        instructions: InstructionCache | None = None,
        features: CachedFeatures | None = None,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        self.episodes = tuple(episodes)
        self._instructions, self._features = instructions, features
        self._augmentation = augmentation or AugmentationConfig()
        self._index = [(e, tick) for e in episodes for tick in e.ticks]
        self._sets = list({id(e.demos): e.demos for e in episodes}.values())
        numbers = {id(demos): i for i, demos in enumerate(self._sets)}
        rows = [(numbers[id(e.demos)], tick, e.start, e.stop) for e, tick in self._index]
        self._rows = np.array(rows, np.int64).reshape(-1, 4)  # number of the set, tick, bounds of its episode

    def __len__(self) -> int:
        return len(self._index)

    def batch(self, indices: Sequence[int] | NDArray[np.int64], seed: Sequence[int] | None = None) -> Batch:
        """These windows as one batch on the CPU, with the tokens of their instructions where those are known.

        With a seed their images are changed at random, as the settings say; it alone decides how.
        """
        chosen = [self._index[i] for i in indices]
        batch = self._pixels(chosen, seed) if self._features is None else self._cached(indices, seed, self._features)
        if self._instructions is None:
            return batch
        language = [self._instructions.tokens(e.instruction) for e, _ in chosen]
        return replace(
            batch,
            language=torch.stack([tokens.values for tokens in language]),
            language_keep=torch.stack([tokens.keep for tokens in language]),
        )

    def _pixels(self, chosen: Sequence[tuple[Episode, int]], seed: Sequence[int] | None) -> Batch:
        windows = [episode.demos.window(tick) for episode, tick in chosen]
        images = {name: _stack([w.images[name] for w in windows]) for name in windows[0].images}
        if seed is not None and self._augmentation.active:
            for i, (name, frames) in enumerate(images.items()):
                images[name] = changed(frames, draw(self._augmentation, (*seed, i), len(frames)))
        return Batch(
            state=_stack([w.state for w in windows]),
            images=images,
            depth={name: _stack([w.depth[name] for w in windows]) for name in windows[0].depth},
            action=_stack([w.action for w in windows]),
            valid=_stack([w.valid for w in windows]),
        )

    def _cached(
        self, indices: Sequence[int] | NDArray[np.int64], seed: Sequence[int] | None, features: CachedFeatures
    ) -> Batch:
        """All windows of a set at once: what holds the interpreter here delays the thread that drives a GPU."""
        set_of, tick, start, stop = self._rows[np.asarray(indices)].T
        body = self._sets[0].embodiment
        past, future, valid = window_rows(body, tick, start, stop)
        state = np.empty((*past.shape, self._sets[0].state.shape[1]), np.float32)
        command = np.empty((*future.shape, self._sets[0].command.shape[1]), np.float32)
        depth = {c.name: np.empty((*past.shape, *c.size_px), np.uint16) for c in body.depth}
        for number in np.unique(set_of):
            mine, demos = set_of == number, self._sets[number]
            state[mine], command[mine] = demos.state[past[mine]], demos.command[future[mine]]
            for name, frames in depth.items():
                frames[mine] = demos.depth[name][past[mine]]
        copies = np.zeros(len(tick), np.int64)
        if seed is not None:
            copies = np.random.default_rng(seed).integers(0, features.copies, len(tick))
        return Batch(
            state=torch.from_numpy(state),
            depth={name: torch.from_numpy(frames) for name, frames in depth.items()},
            features={"image": features.gather([self._sets[i].path for i in set_of], past, copies)},
            action=torch.from_numpy(action_space(body).encode(command, state[:, -1])),
            valid=torch.from_numpy(valid),
        )

    def weights(self, exponent: float) -> NDArray[np.float64] | None:
        """How often each is to be drawn, score ** exponent of its episode; None: all alike."""
        if exponent == 0:
            return None
        return np.repeat([e.score**exponent for e in self.episodes], [len(e.ticks) for e in self.episodes])

    def name(self, index: int) -> str:
        """A window, for a person."""
        episode, tick = self._index[index]
        return episode.name(tick)

    def rows(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """States (N, S) of every tick, and action rows (M, A): what there is to normalise."""
        state = np.concatenate([e.demos.state[e.start : e.stop] for e in self.episodes])
        return state, np.concatenate([_action_rows(e) for e in self.episodes])


def data_hash(sets: Sequence[DemosLike]) -> str:
    """16 hex digits over states, commands, instructions and episode bounds of all sets; the images come from the same ticks."""
    digest = hashlib.sha256()
    for demos in sets:
        digest.update(repr([(e.start, e.stop) for e in demos.episodes]).encode())
        digest.update("\n".join(e.instruction for e in demos.episodes).strip().encode())
        digest.update(np.ascontiguousarray(demos.state).data)
        digest.update(np.ascontiguousarray(demos.command).data)
    return digest.hexdigest()[:16]


def _action_rows(episode: Episode) -> NDArray[np.float32]:
    """Every action row of an episode's windows; one for a command, whose row is the same in all chunks, where it is."""
    robot, ticks = episode.demos.embodiment, slice(episode.start, episode.stop)
    space, state, command = action_space(robot), episode.demos.state[ticks], episode.demos.command[ticks]
    if not space.relative:
        return space.encode(command, state[0])
    due = np.arange(len(state))[:, None] + np.arange(1, robot.policy.action_horizon + 1)
    last = len(state) - 1
    rows = space.encode(command[np.minimum(due, last)], state)
    return rows[due <= last] if last else rows[:, 0]


def _stack(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
