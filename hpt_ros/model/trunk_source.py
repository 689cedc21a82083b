"""A pre-trained trunk into a policy, with proof that it arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpt_ros.errors import DataError
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.hub import resolve
from hpt_ros.model.lora import FACTORS
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.published import SIZES, PublishedFile, open_published
from hpt_ros.model.weights import TensorRecord, content_hash, load_and_compare, record


@dataclass(frozen=True)
class TrunkReport:
    """Where the trunk's tensors come from: a record of each by its name in a `trunk.pth`; `content` hashes the values."""

    source: str
    content: str
    tensors: Mapping[str, TensorRecord]


def initialised_trunk(policy: HPTPolicy) -> TrunkReport:
    """The report of a trunk that starts from random values."""
    state = policy.trunk.state_dict()
    return TrunkReport(
        "none", content_hash(state.items()), {name: record(t, "initialised") for name, t in state.items()}
    )


def load_trunk(
    policy: HPTPolicy,
    source: str | Path | PublishedFile,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
) -> TrunkReport:
    """Load the trunk of a published folder, a checkpoint, a file of tensors, or a model on the hub (hf://owner/name).

    Afterwards every tensor of the trunk equals the file bit for bit, but for names that a glob allows; LoRA factors
    need no file.

    Raises:
        DataError: nothing to read there, other sizes than the policy's, or any tensor missing or left over.
    """
    file = source if isinstance(source, PublishedFile) else open_published(resolve(source))
    if not file.trunk:
        raise DataError(f"{file.origin}: no trunk in it: no tensor's name starts with trunk.", "pass another file")
    require_sizes(file, policy.config)
    tensors = load_and_compare(policy.trunk, file.trunk, file.origin, [*allow_missing, *FACTORS], allow_unused)
    return TrunkReport(file.origin, content_hash(file.trunk.items()), tensors)


def require_sizes(file: PublishedFile, config: PolicyConfig) -> None:
    """The number of heads leaves no trace in the tensors, so the sizes beside the file are compared as well.

    Raises:
        DataError: names each size that differs.
    """
    found = {name: file.setting("network", name) for name in SIZES}
    wrong = [
        f"{name}: the file has {value}, the policy {getattr(config, name)}"
        for name, value in found.items()
        if value is not None and value != getattr(config, name)
    ]
    if wrong:
        raise DataError(
            f"{file.origin}: not the trunk of this policy: " + "; ".join(wrong), "set policy.* to the file's sizes"
        )
