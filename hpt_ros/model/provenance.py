"""What a checkpoint says about itself: where its tensors come from and what has become of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpt_ros.configuration import to_mapping
from hpt_ros.embodiment import fingerprint, tensor_contract
from hpt_ros.errors import DataError
from hpt_ros.model.checkpoint import Checkpoint
from hpt_ros.model.hub import resolve
from hpt_ros.model.lora import FACTORS
from hpt_ros.model.parameters import ParameterCount, count_parameters
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.published import PublishedFile, open_published
from hpt_ros.model.published_sizes import trunk_sizes
from hpt_ros.model.weights import content_hash, matches, record


@dataclass(frozen=True)
class Comparison:
    """Trunk tensors against a file: how many are equal bit for bit, and the mean absolute change over all numbers."""

    source: str
    equal: int
    compared: int
    mean_change: float


def trunk_line(provenance: Mapping[str, Any]) -> str:
    """One line for a log: how much of the trunk was loaded, and from where."""
    trunk = provenance.get("trunk")
    if not trunk:
        return "trunk: no record of where it comes from"
    base = {name: stored_record(r)["status"] for name, r in trunk["tensors"].items() if not matches(name, FACTORS)}
    own = [status for status in base.values() if status != "skipped"]
    if "loaded" not in own:
        return f"trunk: none of {len(own)} tensors loaded, trained from random values"
    loaded = own.count("loaded")
    return f"trunk: {loaded} of {len(own)} tensors loaded from {trunk['source']}, content {trunk['content']}"


def trunk_rows(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Every tensor of the trunk: name, shape, status, hash when training began, and whether it is still the same."""
    began = checkpoint.provenance.get("trunk", {}).get("tensors", {})
    now = {name: record(t, "initialised").hash for name, t in checkpoint.policy.trunk.state_dict().items()}
    return [
        {"name": name} | stored_record(entry) | {"unchanged": now.get(name) == stored_record(entry)["hash"]}
        for name, entry in began.items()
    ]


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything that `hpt-ros inspect` shows, as plain data."""
    policy, embodiment, provenance = checkpoint.policy, checkpoint.embodiment, checkpoint.provenance
    encoders = policy.encoders.state_dict()
    instructions = getattr(checkpoint, "instructions", None)
    return {
        "kind": "checkpoint",
        "embodiment": embodiment.name,
        "fingerprint": fingerprint(embodiment),
        "contract": tensor_contract(embodiment),
        "policy": to_mapping(policy.config),
        "modalities": list(policy.modalities),
        "head": asdict(policy.head.facts),
        "encoder": to_mapping(policy.config.encoder) | {"content": content_hash(encoders.items())},
        "parameters": parameters(policy, provenance),
        "weights": content_hash(policy.state_dict().items()),
        "trunk": trunk_line(provenance),
        "tensors": trunk_rows(checkpoint),
        "source": provenance.get("source", ""),
        "data": provenance.get("data", {}),
        "settings": provenance.get("settings", {}),
        "metrics": provenance.get("metrics", {}),
        "instructions": [] if instructions is None else list(instructions.texts),
    }


def describe_file(file: PublishedFile) -> dict[str, Any]:
    """The same for weights in the published layout, which know no embodiment."""
    try:
        sizes: dict[str, Any] = dict(trunk_sizes(file))
    except DataError as error:
        sizes = {"unknown": error.message}
    return {
        "kind": "policy" if file.is_policy else "trunk",
        "source": file.origin,
        "sizes": sizes,
        "domains": {domain: list(file.modalities(domain)) for domain in file.domains},
        "parameters": sum(t.numel() for t in file.tensors.values()),
        "content": content_hash(file.trunk.items()),
        "tensors": [{"name": name} | _shape_and_hash(tensor) for name, tensor in file.tensors.items()],
    }


def parameters(policy: HPTPolicy, provenance: Mapping[str, Any]) -> dict[str, ParameterCount]:
    """Counts as they were in training, which may have frozen blocks; else those of the policy as it is."""
    stored: dict[str, ParameterCount] | None = provenance.get("parameters")
    return stored or count_parameters(policy)


@torch.no_grad()
def compare_trunk(policy: HPTPolicy, source: str | Path) -> Comparison:
    """The trunk now against the one in a file, folder or model on the hub; LoRA factors do not count.

    Raises:
        DataError: the source cannot be read, or has other tensors than this trunk.
    """
    file = open_published(resolve(source))
    own = {name: t for name, t in policy.trunk.state_dict().items() if not matches(name, FACTORS)}
    theirs = {name: t for name, t in file.trunk.items() if not matches(name, FACTORS)}
    odd = sorted(own.keys() ^ theirs.keys()) + [
        n for n in own.keys() & theirs.keys() if own[n].shape != theirs[n].shape
    ]
    if odd:
        raise DataError(f"{file.origin}: not the same trunk: {', '.join(odd)} missing, left over or of another shape")
    changes = {name: (own[name].double() - theirs[name].double()).abs() for name in own}
    numbers = sum(t.numel() for t in own.values())
    return Comparison(
        source=file.origin,
        equal=sum(record(own[name], "loaded") == record(theirs[name], "loaded") for name in own),
        compared=len(own),
        mean_change=sum(float(change.sum()) for change in changes.values()) / max(numbers, 1),
    )


def stored_record(stored: Mapping[str, Any] | str) -> dict[str, Any]:
    """A stored record; the first checkpoints kept the status alone."""
    return {"status": stored, "shape": [], "hash": ""} if isinstance(stored, str) else dict(stored)


def _shape_and_hash(tensor: Tensor) -> dict[str, Any]:
    entry = record(tensor, "loaded")
    return {"shape": list(entry.shape), "hash": entry.hash}
