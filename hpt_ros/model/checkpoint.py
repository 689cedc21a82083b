"""A checkpoint folder: `model.safetensors` and `checkpoint.json`. It needs nothing else to run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

import hpt_ros
from hpt_ros.configuration import from_mapping, to_mapping
from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, fingerprint
from hpt_ros.errors import DataError
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.language import InstructionCache
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.weights import content_hash, load_exactly, read_tensors
from hpt_ros.paths import whole_folder

WEIGHTS, DESCRIPTION = "model.safetensors", "checkpoint.json"
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A policy in evaluation mode, the embodiment it was trained for, and where it came from."""

    policy: HPTPolicy
    embodiment: Embodiment
    provenance: Mapping[str, Any]

    @property
    def instructions(self) -> InstructionCache | None:
        """Tokens of the instructions that the policy knows; None when it has no language."""
        return self.policy.instructions


def save_checkpoint(folder: Path, policy: HPTPolicy, embodiment: Embodiment, provenance: Mapping[str, Any]) -> None:
    """Write `folder` as a whole: an interruption leaves what was there before, or nothing.

    `provenance` is plain JSON data: data hash, settings, metrics, source of the trunk.
    """
    tensors = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
    description = {
        "format": FORMAT,
        "version": hpt_ros.__version__,
        "policy": to_mapping(policy.config),
        "embodiment": embodiment_to(embodiment),
        "fingerprint": fingerprint(embodiment),
        "weights": content_hash(tensors.items()),
        "provenance": provenance,
    }
    with whole_folder(folder) as new:
        (new / WEIGHTS).write_bytes(save(tensors))  # save_file's own error hides that a disk is full
        (new / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")
        if policy.config.language is not None:
            _instructions(policy).save(new)


def load_checkpoint(folder: Path | str) -> Checkpoint:
    """Read a checkpoint completely.

    Raises:
        DataError: a file is missing, damaged or of a newer format, or a tensor is missing, left over, misshapen, not
            finite, or not the one that was saved; names it.
    """
    folder = Path(folder)
    description = _read_description(folder / DESCRIPTION)
    embodiment = embodiment_from(description["embodiment"])
    policy = HPTPolicy(from_mapping(PolicyConfig, description["policy"], "policy"), embodiment, pretrained=False)
    tensors = read_tensors(folder / WEIGHTS)
    load_exactly(policy, tensors, folder / WEIGHTS)
    if content_hash(tensors.items()) != description["weights"]:
        raise DataError(
            f"{folder / WEIGHTS}: not the weights that {DESCRIPTION} was written with", "restore both files"
        )
    if fingerprint(embodiment) != description["fingerprint"]:
        raise DataError(f"{folder / DESCRIPTION}: embodiment and fingerprint disagree", "restore the file")
    policy.provenance = description["provenance"]
    if policy.config.language is not None:
        policy.instructions = InstructionCache.load(folder)
    return Checkpoint(policy.eval(), embodiment, description["provenance"])


def _instructions(policy: HPTPolicy) -> InstructionCache:
    if policy.instructions is None:
        raise DataError(
            "the policy follows instructions, and the tokens of none are known",
            "set policy.instructions to those that it is trained with: language.embed(config.language, texts)",
        )
    return policy.instructions


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text())
        found = description["format"]
    except OSError as error:
        raise DataError(
            f"no checkpoint at {path.parent}: {error.strerror}: {path.name}", "pass a folder such as runs/NAME/last"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not the description of a checkpoint ({error})", "restore the file") from error
    if found != FORMAT:
        raise DataError(
            f"{path}: format {found}, this version reads format {FORMAT}", "use a matching version of hpt_ros"
        )
    missing = {"policy", "embodiment", "fingerprint", "weights", "provenance"} - description.keys()
    if missing:
        raise DataError(f"{path}: lacks {', '.join(sorted(missing))}", "restore the file")
    return dict(description)
