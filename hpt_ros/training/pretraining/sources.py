"""The demonstration sets of all domains, opened and checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos import Demos
from hpt_ros.embodiment import Embodiment, require_same
from hpt_ros.errors import ConfigError
from hpt_ros.model.language import InstructionCache, embed
from hpt_ros.training.features import CachedFeatures, image_hash
from hpt_ros.training.pretraining.config import PretrainConfig
from hpt_ros.training.windows import DemosLike, Windows, all_episodes, data_hash, hold_out, instructions_of


@dataclass(frozen=True)
class Source:
    """One demonstration set: what is drawn from, and what is held out."""

    domain: str
    demos: DemosLike
    training: Windows
    held_out: Windows


@dataclass(frozen=True)
class Sources:
    """All sets, in the order of their domains, and the tokens of their instructions where the policy has language."""

    sets: tuple[Source, ...]
    instructions: InstructionCache | None = None

    @property
    def embodiments(self) -> dict[str, Embodiment]:
        """The embodiment of each domain."""
        return {source.domain: source.demos.embodiment for source in self.sets}

    def of(self, domain: str) -> list[Source]:
        """The sets of a domain."""
        return [source for source in self.sets if source.domain == domain]

    def rows(self, domain: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """States (N, S) of every tick that a domain learns from, and action rows (M, A): what there is to normalise."""
        states, actions = zip(*(source.training.rows() for source in self.of(domain)), strict=True)
        return np.concatenate(states), np.concatenate(actions)

    def image_hashes(self) -> dict[str, str]:
        """By set, what identifies its images; empty where it keeps none."""
        return {str(source.demos.path): image_hash(source.demos.path) for source in self.sets}

    def with_features(self, features: Mapping[str, CachedFeatures]) -> Sources:
        """The same sets, with what is known of image features by domain in the place of pixels."""

        def read(source: Source, windows: Windows) -> Windows:
            return Windows(windows.episodes, self.instructions, features.get(source.domain))

        return replace(
            self, sets=tuple(replace(s, training=read(s, s.training), held_out=read(s, s.held_out)) for s in self.sets)
        )

    def hashes(self) -> dict[str, str]:
        """By set, what identifies its content."""
        return {str(source.demos.path): data_hash([source.demos]) for source in self.sets}


def open_sources(config: PretrainConfig, seed: int) -> Sources:
    """Open every set of every domain.

    Raises:
        ConfigError: no set at all, or one that is named twice.
        DataError: a set that is missing, damaged, or has no episode; instructions that are missing.
        FingerprintError: sets of one domain whose tensors differ, with each difference.
    """
    named = [str(Path(path)) for paths in config.domains.values() for path in paths]
    twice = sorted({path for path in named if named.count(path) > 1})
    if not named or twice:
        remedy = "list them under `domains`, or pass [DOMAIN=]FOLDER after the preset"
        raise ConfigError("domains", twice or {}, "at least one demonstration set, each only once", remedy)
    opened = {d: [Demos.open(path) for path in paths] for d, paths in config.domains.items()}
    if not config.caches:  # a cache reads each frame once
        opened = {d: [demos.decoded() for demos in sets] for d, sets in opened.items()}
    return sources_of(opened, config, seed)


def sources_of(domains: Mapping[str, Sequence[DemosLike]], config: PretrainConfig, seed: int) -> Sources:
    """`open_sources` of sets that are open already."""
    opened = []
    for domain, sets in domains.items():
        for demos in sets:
            require_same(sets[0].embodiment, demos.embodiment, f"{domain}: {sets[0].path}", f"{domain}: {demos.path}")
            opened.append((domain, demos, all_episodes([demos])))
    language = config.policy.language
    every = [episode for _, _, episodes in opened for episode in episodes]
    instructions = embed(language, instructions_of(every)) if language is not None else None
    found = []
    for domain, demos, episodes in opened:
        training, held_out = hold_out(episodes, config.validation.fraction, seed)
        found.append(Source(domain, demos, Windows(training, instructions), Windows(held_out, instructions)))
    return Sources(tuple(found), instructions)
