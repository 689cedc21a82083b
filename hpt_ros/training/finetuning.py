"""Fine-tune a policy on demonstrations of one embodiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from hpt_ros.training.learner import Learner
from hpt_ros.training.loop import Outcome, Progress, run_steps
from hpt_ros.training.run_folder import RunFolder
from hpt_ros.training.windows import (
    DemosLike,
    Windows,
    all_episodes,
    data_hash,
    hold_out,
    instructions_of,
    scored_at_least,
)


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
    progress: Progress = lambda _: None,
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
    sets = [Demos.open(path).decoded() for path in demos]
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
            progress=progress,
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
    progress: Progress,
) -> RunReport:
    """`finetune` on opened sets, with torch's generator already seeded."""
    with folder:
        episodes = scored_at_least(all_episodes(sets), config.scores.min)
        training, held_out = hold_out(episodes, config.validation.fraction, seed)
        language = config.policy.language
        instructions = embed(language, instructions_of(episodes)) if language is not None else None
        windows, unseen = Windows(training, instructions), Windows(held_out, instructions)
        policy = HPTPolicy(config.policy, sets[0].embodiment)
        policy.instructions = instructions
        trunk_report = load_trunk(policy, trunk, allow_missing, allow_unused) if trunk else initialised_trunk(policy)
        freeze_trunk(policy, config.freeze)
        policy.scaling.fit(*windows.rows(), least_ranges(sets[0].embodiment))
        policy.to(device)
        learner = Learner(config, policy, windows, unseen, seed)
        provenance = {
            "data": {"sets": [str(demos.path) for demos in sets], "hash": data_hash(sets)},
            "settings": to_mapping(config),
            "seed": seed,
            "parameters": count_parameters(policy),
            "served_weights": learner.optimization.served_weights,
            "trunk": asdict(trunk_report),
            **_weights_of_others(policy),
        }
        folder.begin(_facts(config, provenance, policy))

        def save(name: str, metrics: Mapping[str, Any]) -> None:
            with learner.optimization.served():
                save_checkpoint(folder.path / name, policy, sets[0].embodiment, {**provenance, "metrics": metrics})

        if folder.saved is None:
            save("initial", {"step": 0})
        outcome = run_steps(config, learner, folder, save, progress)
        report = RunReport(
            out=str(folder.out),
            outcome=outcome,
            episodes=len(training),
            held_out_episodes=len(held_out),
            windows=len(windows),
            parameters=count_parameters(policy),
            trunk=trunk_report,
        )
        folder.write_report(asdict(report))
    return report


def _facts(config: FinetuneConfig, provenance: Mapping[str, Any], policy: HPTPolicy) -> dict[str, Any]:
    """What an interrupted run must share with the one that goes on: all that its remaining steps depend on."""
    settings = {key: value for key, value in to_mapping(config).items() if key != "state_every_s"}
    weights = {name: content_hash(part.state_dict().items()) for name, part in policy.named_children()}
    return {
        "settings": settings,
        "data": provenance["data"]["hash"],
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
