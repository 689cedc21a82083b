"""A pre-trained trunk into a policy, with proof that it arrived."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpt_ros.configuration import load_yaml
from hpt_ros.errors import DataError
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.weights import content_hash, load_exactly, read_tensors

SIZES = ("embed_dim", "num_blocks", "num_heads")


@dataclass(frozen=True)
class TrunkReport:
    """Where the trunk's tensors come from: `tensors` maps each name to `loaded` or `initialised`; `content` hashes the values."""

    source: str
    content: str
    tensors: dict[str, str]


def initialised_trunk(policy: HPTPolicy) -> TrunkReport:
    """The report of a trunk that starts from random values."""
    state = policy.trunk.state_dict()
    return TrunkReport("none", content_hash(state.items()), dict.fromkeys(state, "initialised"))


def load_trunk(policy: HPTPolicy, path: Path) -> TrunkReport:
    """Load a trunk in the published layout: a folder with `trunk.pth` and `config.yaml`, or the file of tensors alone.

    Afterwards every tensor of the trunk equals the file bit for bit.

    Raises:
        DataError: nothing to read there, other sizes than the policy's, or any tensor missing or left over.
    """
    file = _trunk_file(path)
    _require_sizes(path, policy.config)
    tensors = read_tensors(file)
    load_exactly(policy.trunk, tensors, file)
    differing = [name for name, tensor in policy.trunk.state_dict().items() if not _same_bits(tensor, tensors[name])]
    if differing:
        raise DataError(f"{file}: the trunk differs from the file after loading in: {', '.join(differing)}")
    return TrunkReport(str(file), content_hash(tensors.items()), dict.fromkeys(tensors, "loaded"))


def _trunk_file(path: Path) -> Path:
    candidates = [path / "trunk.safetensors", path / "trunk.pth"] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise DataError(
        f"no trunk at {path}: found neither {' nor '.join(c.name for c in candidates)}",
        "pass a folder in the published layout (trunk.pth, config.yaml), a file of tensors, or none",
    )


def _require_sizes(path: Path, config: PolicyConfig) -> None:
    """The number of heads leaves no trace in the tensors, so the folder's config.yaml is compared as well."""
    file = path / "config.yaml"
    if not file.is_file():
        return
    network: Any = load_yaml(file).get("network")
    if not isinstance(network, dict):
        raise DataError(f"{file}: has no section `network` with the sizes of the trunk")
    wrong = [
        f"{name}: the file has {network[name]}, the policy {getattr(config, name)}"
        for name in SIZES
        if name in network and network[name] != getattr(config, name)
    ]
    if wrong:
        raise DataError(
            f"{path}: not the trunk of this policy: " + "; ".join(wrong), "set policy.* to the file's sizes"
        )


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)
