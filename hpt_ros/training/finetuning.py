"""Fine-tune a policy on demonstrations of one embodiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hpt_ros.configuration import to_mapping
from hpt_ros.control.actions import least_ranges
from hpt_ros.demos import Demos
from hpt_ros.model import HPTPolicy, TrunkReport, initialised_trunk, load_trunk, save_checkpoint
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.language import embed
from hpt_ros.model.parameters import ParameterCount, count_parameters
from hpt_ros.model.weights import content_hash
from hpt_ros.training.adaptation import freeze_trunk
from hpt_ros.training.config import FinetuneConfig
from hpt_ros.training.features import CachedFeatures, cached_features, image_hash
from hpt_ros.training.learner import Learner
from hpt_ros.training.loop import Outcome, Progress, run_steps
from hpt_ros.training.need import Need, training_need
from hpt_ros.training.optimization import served_weights
from hpt_ros.training.remarks import before_training
from hpt_ros.training.run_folder import RunFolder
from hpt_ros.training.trackers import NO_TRACKING, Tracking, both
from hpt_ros.training.windows import (
    DemosLike,
    Episode,
    Windows,
    all_episodes,
    chosen_by,
    data_hash,
    hold_out,
    instructions_of,
    places_of,
    scored_at_least,
)

Caching = Callable[[int, int], None]
"""Frames whose features are there, and all."""


@dataclass(frozen=True)
class Plan:
    """What is going to be trained, said before it begins; `done`: steps that an interrupted run has taken already."""

    episodes: int
    held_out_episodes: int
    windows: int
    parameters: dict[str, ParameterCount]
    memory: Need
    trunk: TrunkReport
    remarks: list[str]
    done: int


Planned = Callable[[Plan], None]


@dataclass(frozen=True)
class RunReport:
    """What a run used and what came out; also the content of report.json."""

    out: str
    outcome: Outcome
    episodes: int
    held_out_episodes: int
    windows: int
    parameters: dict[str, ParameterCount]
    trunk: TrunkReport


def finetune(
    config: FinetuneConfig,
    demos: Sequence[Path],
    out: Path,
    *,
    trunk: str | Path | None = None,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
    tracking: Tracking = NO_TRACKING,
    planned: Planned = lambda _: None,
    progress: Progress = lambda _: None,
    caching: Caching = lambda done, total: None,
) -> RunReport:
    """Train on the demonstration sets `demos` and write the run folder `out`; goes on where an interrupted run there stood.

    `out` then holds the checkpoints `initial` (the untrained network with the same normaliser), `best` (lowest loss on
    held-out episodes; without any, the last) and `last`, `metrics.jsonl` and `report.json`. On a CPU the same seed,
    data and number of threads give the same weights.

    `trunk` is what `load_trunk` reads; the globs name tensors that it may lack, or have in vain.

    Raises:
        DataError: demonstrations, trunk or encoder weights that cannot be used.
        FingerprintError: demonstration sets of different embodiments.
        BusyError: `out` exists, or another run writes to it.
        ResumeError: an interrupted run there had other settings or data.
        DivergedError: a loss that is not finite.
    """
    folder = RunFolder(out, overwrite)
    opened = [Demos.open(path) for path in demos]
    sets = opened if config.caches else [demos.decoded() for demos in opened]  # a cache reads each frame once
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return train(
            config,
            sets,
            folder,
            trunk=trunk,
            allow_missing=allow_missing,
            allow_unused=allow_unused,
            seed=seed,
            device=device,
            tracking=tracking,
            planned=planned,
            progress=progress,
            caching=caching,
        )


def train(
    config: FinetuneConfig,
    sets: Sequence[DemosLike],
    folder: RunFolder,
    *,
    trunk: str | Path | None,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
    seed: int,
    device: str,
    tracking: Tracking = NO_TRACKING,
    planned: Planned = lambda _: None,
    progress: Progress = lambda _: None,
    caching: Caching = lambda done, total: None,
) -> RunReport:
    """`finetune` on opened sets, with torch's generator already seeded."""
    tracking.require()
    with folder:
        training, held_out = _split(config, sets, seed)
        policy = HPTPolicy(config.policy, sets[0].embodiment)
        if config.policy.language is not None:
            policy.instructions = embed(config.policy.language, instructions_of([*training, *held_out]))
        trunk_report = load_trunk(policy, trunk, allow_missing, allow_unused) if trunk else initialised_trunk(policy)
        freeze_trunk(policy, config.freeze)
        policy.scaling.fit(*Windows(training).rows(), least_ranges(sets[0].embodiment))
        policy.to(device)
        images = {demos.path: image_hash(demos.path) for demos in sets}
        provenance = {
            "data": {
                "sets": [str(demos.path) for demos in sets],
                "hash": data_hash(sets),
                "held_out": places_of(held_out, sets),
            },
            "settings": to_mapping(config),
            "seed": seed,
            "parameters": count_parameters(policy),
            "served_weights": served_weights(config.optimizer),
            "trunk": asdict(trunk_report),
            **_weights_of_others(policy),
        }
        need = training_need(
            [policy],
            sum(p.numel() * p.element_size() for p in policy.parameters() if p.requires_grad),
            batch_size=config.batch_size,
            averaged=config.optimizer.ema_decay > 0,
            cached=_cached(config, policy, images),
        )
        need.require(next(policy.parameters()).device)
        folder.begin(_facts(config, provenance, policy, list(images.values())))
        windows = sum(len(e.ticks) for e in training)
        remarks = before_training(config, policy, trunk_report, device)
        done = 0 if folder.saved is None else folder.saved.track["step"]
        counts = count_parameters(policy)
        planned(Plan(len(training), len(held_out), windows, counts, need, trunk_report, remarks, done))
        features = _features(config, sets, policy, images, seed, caching)
        if features is not None:
            features.place(torch.device(device), need.room(torch.device(device)))
        learner = Learner(
            config,
            policy,
            Windows(training, policy.instructions, features, config.augmentation),
            Windows(held_out, policy.instructions, features),
            seed,
        )

        def save(name: str, metrics: Mapping[str, Any]) -> None:
            with learner.optimization.served():
                save_checkpoint(folder.path / name, policy, sets[0].embodiment, {**provenance, "metrics": metrics})

        if folder.saved is None:
            save("initial", {"step": 0})
        with tracking.opened(folder, to_mapping(config), done) as track:
            outcome = run_steps(config, learner, folder, save, both(progress, track))
        report = RunReport(
            out=str(folder.out),
            outcome=outcome,
            episodes=len(training),
            held_out_episodes=len(held_out),
            windows=windows,
            parameters=count_parameters(policy),
            trunk=trunk_report,
        )
        folder.write_report(asdict(report))
    return report


def _split(config: FinetuneConfig, sets: Sequence[DemosLike], seed: int) -> tuple[list[Episode], list[Episode]]:
    episodes = chosen_by(scored_at_least(all_episodes(sets), config.scores.min), config.interventions)
    return hold_out(episodes, config.validation.fraction, seed)


def _features(
    config: FinetuneConfig,
    sets: Sequence[DemosLike],
    policy: HPTPolicy,
    images: Mapping[Path, str],
    seed: int,
    caching: Caching,
) -> CachedFeatures | None:
    """What the image encoder gives, where it is frozen and the demonstrations lie on a disk."""
    encoder = policy.encoder("image")
    if not _cached(config, policy, images) or not isinstance(encoder, ImageEncoder):
        return None
    return cached_features(sets, encoder, config.augmentation, images=images, seed=seed, said=caching)


def _cached(config: FinetuneConfig, policy: HPTPolicy, images: Mapping[Path, str]) -> bool:
    return config.caches and isinstance(policy.encoder("image"), ImageEncoder) and all(images.values())


def _facts(
    config: FinetuneConfig, provenance: Mapping[str, Any], policy: HPTPolicy, images: Sequence[str]
) -> dict[str, Any]:
    """What an interrupted run must share with the one that goes on: all that its remaining steps depend on."""
    settings = {key: value for key, value in to_mapping(config).items() if key != "state_every_s"}
    weights = {name: content_hash(part.state_dict().items()) for name, part in policy.named_children()}
    return {
        "settings": settings,
        "data": provenance["data"]["hash"],
        "images": list(images),
        "seed": provenance["seed"],
        "initial_weights": weights,
        "device": next(policy.parameters()).device.type,
        "machine": {"threads": torch.get_num_threads(), "torch": torch.__version__},
    }


def _weights_of_others(policy: HPTPolicy) -> dict[str, dict[str, str]]:
    """Path and hash of the published weights in the image encoder and behind the language tokens."""
    found = {}
    encoder = policy.encoder("image")
    if isinstance(encoder, ImageEncoder) and encoder.source is not None:
        found["encoder"] = encoder.source.record()
    if policy.instructions is not None:
        found["language"] = dict(policy.instructions.source)
    return found
