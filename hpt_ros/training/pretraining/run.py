"""Pre-train a trunk on demonstrations of many embodiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hpt_ros.configuration import check, to_mapping
from hpt_ros.control.actions import least_ranges
from hpt_ros.model import TrunkReport, initialised_trunk, load_trunk, save_checkpoint
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.multi_policy import MultiPolicy
from hpt_ros.model.parameters import ParameterCount, count_parameters
from hpt_ros.model.published_trunk import save_trunk
from hpt_ros.model.weights import content_hash
from hpt_ros.training.config import AugmentationConfig
from hpt_ros.training.features import CachedFeatures, cached_features
from hpt_ros.training.loop import Outcome, Progress, run_steps
from hpt_ros.training.need import Need, training_need
from hpt_ros.training.optimization import TRUNK
from hpt_ros.training.pretraining.config import PretrainConfig
from hpt_ros.training.pretraining.curves import draw_curves
from hpt_ros.training.pretraining.folders import run_folder
from hpt_ros.training.pretraining.learner import PretrainLearner
from hpt_ros.training.pretraining.sources import Sources, open_sources
from hpt_ros.training.pretraining.workers import Workers

DOMAINS = "domains"
CURVES = "curves.png"

Caching = Callable[[int, int], None]
"""Frames of a domain whose features are there, and all."""


@dataclass(frozen=True)
class SourceReport:
    """One set: its size, the chance of each draw to take it, and the losses of its domain at the end (normalised units)."""

    domain: str
    path: str
    episodes: int
    windows: int
    chance: float
    loss: float | None
    val_loss: float | None


@dataclass(frozen=True)
class PretrainReport:
    """What a run used and what came out; also the content of report.json. `parameters`: by domain."""

    out: str
    outcome: Outcome
    workers: int
    sources: tuple[SourceReport, ...]
    parameters: dict[str, dict[str, ParameterCount]]
    trunk: TrunkReport


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    trunk: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
    progress: Progress = lambda _: None,
    caching: Caching = lambda done, total: None,
) -> PretrainReport:
    """Train on all sets of `config` and write the run folder `out`; goes on where an interrupted run there stood.

    Under `torchrun` all processes call this and share the draws of each step; rank 0 writes. `out` then holds `best` and
    `last`, each with the trunk as `trunk.pth` and `config.yaml`, a checkpoint of each domain's policy in `domains/`,
    `metrics.jsonl`, `curves.png` and `report.json`.

    Args:
        trunk: what `load_trunk` reads, to go on with its pre-training; None starts from random values.
        progress, caching: called on every process, after each step, and as frames of a domain get their features.

    Raises:
        ConfigError: no set, or fewer draws than processes.
        DataError: sets, trunk or encoder weights that cannot be used, on whichever process; processes that disagree.
        FingerprintError: sets of one domain whose tensors differ.
        BusyError: `out` exists, or another run writes to it.
        ResumeError: an interrupted run there had other settings or data.
        DivergedError: a loss that is not finite.
    """
    with Workers(device) as workers, torch.random.fork_rng():
        torch.manual_seed(seed)
        sources = workers.together(lambda: open_sources(config, seed))
        return train(
            config,
            sources,
            out,
            workers,
            trunk=trunk,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
            caching=caching,
        )


def train(
    config: PretrainConfig,
    sources: Sources,
    out: Path,
    workers: Workers,
    *,
    trunk: str | Path | None = None,
    seed: int,
    overwrite: bool = False,
    progress: Progress = lambda _: None,
    caching: Caching = lambda done, total: None,
) -> PretrainReport:
    """`pretrain` on opened sets, with torch's generator already seeded."""
    check(config.draws >= workers.size, "draws", config.draws, f"at least {workers.size}: one for each process")
    if config.parallel == "fsdp":
        whole = config.draws % workers.size == 0
        check(
            whole,
            "draws",
            config.draws,
            f"a multiple of {workers.size} with fsdp: all processes run the trunk equally often",
        )
    with ExitStack() as stack:
        folder = workers.together(lambda: stack.enter_context(run_folder(out, overwrite, workers.leads)))
        policy, trunk_report = workers.together(lambda: _network(config, sources, trunk))
        policy.to(workers.device)
        images = workers.together(sources.image_hashes) if config.caches else {}
        cached = bool(images) and all(images.values())
        need = workers.together(lambda: _need(config, policy, workers, cached))
        workers.together(lambda: need.require(workers.device))
        facts = _facts(config, sources, policy, workers, seed) | {"images": images}
        workers.require_same(facts)
        workers.together(lambda: folder.begin(facts))
        folder.saved = workers.shared_state(folder.saved)
        if cached:
            features = workers.together(lambda: _features(sources, policy, workers, images, caching))
            for each in features.values():
                each.place(workers.device, need.room(workers.device))
            sources = sources.with_features(features)
        folder.learner = learner = PretrainLearner(config, policy, sources, workers, seed)
        provenance = {
            "data": {"sets": [str(s.demos.path) for s in sources.sets], "hash": facts["data"]},
            "settings": to_mapping(config),
            "seed": seed,
            "workers": workers.size,
            "served_weights": learner.optimization.served_weights,
            "trunk": asdict(trunk_report),
        }

        def save(name: str, metrics: Mapping[str, Any]) -> None:
            with learner.optimization.served(), learner.parallel.gathered():
                if workers.leads:
                    save_trunk(folder.path / name, policy.trunk, policy.config, {**provenance, "metrics": metrics})

        outcome = run_steps(_Pace(config), learner, folder, save, progress)
        report = PretrainReport(
            out=str(out),
            outcome=outcome,
            workers=workers.size,
            sources=_source_reports(sources, learner),
            parameters={domain: count_parameters(policy[domain]) for domain in policy.domains},
            trunk=trunk_report,
        )
        with learner.optimization.served(), learner.parallel.gathered():
            if workers.leads:
                for domain in policy.domains:
                    made = {**provenance, "parameters": report.parameters[domain], "metrics": asdict(outcome)}
                    save_checkpoint(folder.path / DOMAINS / domain, policy[domain], policy[domain].embodiment, made)
        if workers.leads:
            draw_curves(folder.path / CURVES, folder.path / "metrics.jsonl")
            folder.write_report(asdict(report))
    return report


class _Pace:
    """What the loop reads of the settings; its batch is all that a step learns from."""

    def __init__(self, config: PretrainConfig) -> None:
        self.steps, self.validation, self.state_every_s = config.steps, config.validation, config.state_every_s
        self.batch_size = config.draws * config.batch_size


def _network(config: PretrainConfig, sources: Sources, trunk: str | Path | None) -> tuple[MultiPolicy, TrunkReport]:
    policy = MultiPolicy(config.policy, sources.embodiments)
    first = policy[policy.domains[0]]
    report = load_trunk(first, trunk) if trunk else initialised_trunk(first)
    for domain in policy.domains:
        policy[domain].instructions = sources.instructions
        policy[domain].scaling.fit(*sources.rows(domain), least_ranges(policy[domain].embodiment))
    return policy, report


def _need(config: PretrainConfig, policy: MultiPolicy, workers: Workers, cached: bool) -> Need:
    trained = {name: p.numel() * p.element_size() for name, p in policy.named() if p.requires_grad}
    shares = workers.size if config.parallel == "fsdp" else 1
    return training_need(
        [policy[domain] for domain in policy.domains],
        sum(size // (shares if name.startswith(TRUNK) else 1) for name, size in trained.items()),
        batch_size=config.batch_size,
        averaged=config.optimizer.ema_decay > 0,
        cached=cached,
    )


def _features(
    sources: Sources, policy: MultiPolicy, workers: Workers, images: Mapping[str, str], caching: Caching
) -> dict[str, CachedFeatures]:
    """What the frozen image encoder gives, by domain. Each worker begins with another domain, and waits for what others compute."""
    first = workers.rank % len(policy.domains)
    alone = workers.size == 1 or workers.device.type == "cuda"
    found = {}
    for domain in (*policy.domains[first:], *policy.domains[:first]):
        encoder = policy[domain].encoder("image")
        assert isinstance(encoder, ImageEncoder)
        sets = [source.demos for source in sources.of(domain)]
        hashes = {demos.path: images[str(demos.path)] for demos in sets}
        threads = 0 if alone else torch.get_num_threads()
        found[domain] = cached_features(
            sets, encoder, AugmentationConfig(), images=hashes, seed=0, said=caching, workers=threads
        )
    return found


def _facts(
    config: PretrainConfig, sources: Sources, policy: MultiPolicy, workers: Workers, seed: int
) -> dict[str, Any]:
    """What all processes must share, and an interrupted run with the one that goes on: all that the steps depend on."""
    settings = {key: value for key, value in to_mapping(config).items() if key not in ("state_every_s", "domains")}
    return {
        "settings": settings,
        "data": sources.hashes(),
        "seed": seed,
        "initial_weights": content_hash(policy.tensors().items()),
        "device": workers.device.type,
        "machine": {"processes": workers.size, "threads": torch.get_num_threads(), "torch": torch.__version__},
    }


def _source_reports(sources: Sources, learner: PretrainLearner) -> tuple[SourceReport, ...]:
    return tuple(
        SourceReport(
            domain=source.domain,
            path=str(source.demos.path),
            episodes=len(source.training.episodes),
            windows=len(source.training),
            chance=float(chance),
            loss=learner.losses.get(source.domain),
            val_loss=learner.val_losses.get(source.domain),
        )
        for source, chance in zip(sources.sets, learner.sampler.chances, strict=True)
    )
