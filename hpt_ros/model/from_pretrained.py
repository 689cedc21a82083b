"""`HPTPolicy.from_pretrained` and `push_to_hub`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from hpt_ros.configuration import check
from hpt_ros.embodiment import Embodiment, require_same
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model.checkpoint import DESCRIPTION, load_checkpoint, save_checkpoint
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.hub import resolve, upload
from hpt_ros.model.lora import FACTORS
from hpt_ros.model.model_card import model_card
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.published import UNUSED_AS_PUBLISHED, PublishedFile, open_published
from hpt_ros.model.published_sizes import infer_config, trunk_sizes
from hpt_ros.model.trunk_source import TrunkReport, load_trunk, require_sizes
from hpt_ros.model.weights import TensorRecord, content_hash, load_and_compare, record


def load_pretrained(
    source: str | Path,
    embodiment: Embodiment | None = None,
    *,
    config: PolicyConfig | None = None,
    domain: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
) -> HPTPolicy:
    """A policy in evaluation mode from a checkpoint folder, published files, or hf://owner/name[@revision][/sub].

    A folder with `trunk.pth` gives the trunk; stems, head and normaliser then start from random values. A `model.pth`
    gives everything but the frozen image encoder, which reads its own file. The policy's `provenance` has a record of
    every tensor, and every loaded one has been compared with the file bit for bit.

    Args:
        embodiment: needed for published files; for a checkpoint its own must be the same.
        config: instead of the sizes that the file shows.
        domain: which of the file's embodiments to take, needed where its name is not the embodiment's.
        allow_missing, allow_unused: globs of names that the file may lack, and may have in vain.

    Raises:
        ConfigError: an embodiment or an option that the source needs, or does not take.
        DataError: the source cannot be read, or its tensors are not exactly those of the policy; names them.
        FingerprintError: a checkpoint of another embodiment, with each difference.
    """
    place = resolve(source)
    if (place.path / DESCRIPTION).is_file():
        allowed = (*allow_missing, *allow_unused)
        return _from_checkpoint(place.path, embodiment, config=config, domain=domain, allowed=allowed)
    file = open_published(place)
    if embodiment is None:
        raise ConfigError("embodiment", None, "an embodiment: published files do not describe theirs")
    if file.is_policy:
        found = _domain(file, embodiment.name, domain)
        return _from_policy(file, found, embodiment, config, (allow_missing, allow_unused))
    check(domain is None, "domain", domain, "nothing: the file is a trunk, which all embodiments share")
    sizes: dict[str, Any] = dict(trunk_sizes(file)) if config is None else {}
    policy = HPTPolicy(config or PolicyConfig(**sizes), embodiment)
    report = load_trunk(policy, file, allow_missing, allow_unused)
    rest = {n: record(t, "initialised") for n, t in policy.state_dict().items() if not n.startswith("trunk.")}
    return _finished(policy, report, rest)


def push(policy: HPTPolicy, repo: str, *, private: bool = True, revision: str = "", licence: str = "other") -> str:
    """Upload a checkpoint of the policy with a model card as README.md; gives the commit's address.

    Raises:
        ConfigError: `repo` is not owner/name.
        DataError: the hub refused, or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "checkpoint"
        save_checkpoint(folder, policy, policy.embodiment, policy.provenance)
        (folder / "README.md").write_text(model_card(policy, repo=repo, licence=licence))
        return upload(folder, repo, private=private, revision=revision)


def push_checkpoint(
    checkpoint: Path, repo: str, *, private: bool = True, revision: str = "", licence: str = "other"
) -> str:
    """`push` for a folder, with everything that lies in it; a damaged one is refused first."""
    policy = load_checkpoint(checkpoint).policy
    with tempfile.TemporaryDirectory() as made:
        folder = shutil.copytree(checkpoint, Path(made) / "checkpoint")
        (folder / "README.md").write_text(model_card(policy, repo=repo, licence=licence))
        return upload(folder, repo, private=private, revision=revision)


def _from_checkpoint(
    folder: Path,
    embodiment: Embodiment | None,
    *,
    config: PolicyConfig | None,
    domain: str | None,
    allowed: Sequence[str],
) -> HPTPolicy:
    checkpoint = load_checkpoint(folder)
    if embodiment is not None:
        require_same(checkpoint.embodiment, embodiment, f"checkpoint {folder}", "the embodiment")
    own = checkpoint.embodiment.name
    check(domain in (None, own), "domain", domain, f"{own}, or nothing: a checkpoint holds one embodiment")
    check(config in (None, checkpoint.policy.config), "config", config, "the checkpoint's own, or nothing")
    check(not allowed, "allow_missing, allow_unused", list(allowed), "nothing: a checkpoint is read completely")
    return checkpoint.policy


def _domain(file: PublishedFile, name: str, asked: str | None) -> str:
    there = ", ".join(file.domains) or "none"
    if asked is not None:
        check(asked in file.domains, "domain", asked, f"one that {file.origin} has a head for: {there}")
        return asked
    if file.domains == (name,):
        return name
    raise DataError(
        f"{file.origin}: holds the embodiments {there}; the embodiment here is {name}",
        "say which one to take, under the name of the embodiment here: domain=NAME",
    )


def _from_policy(
    file: PublishedFile,
    domain: str,
    embodiment: Embodiment,
    config: PolicyConfig | None,
    allow: tuple[Sequence[str], Sequence[str]],
) -> HPTPolicy:
    """Tensors of other domains are skipped: the choice of one has been made by name."""
    own = file.of_domain(domain, embodiment.name)
    kept = file.of_domain(domain, domain).tensors
    others: Mapping[str, Tensor] = {name: t for name, t in file.tensors.items() if name not in kept}
    brings_encoders = any(name.startswith(f"encoders.{embodiment.name}_") for name in own.tensors)
    policy = HPTPolicy(config or infer_config(own, embodiment.name), embodiment, pretrained=not brings_encoders)
    require_sizes(own, policy.config)
    missing = [*allow[0], *(f"trunk.{glob}" for glob in FACTORS), *([] if brings_encoders else ["encoders.*"])]
    records = load_and_compare(policy, own.tensors, file.origin, missing, [*allow[1], UNUSED_AS_PUBLISHED])
    if not brings_encoders:  # theirs come from a file of their own, which the encoder has checked
        records = {n: r for n, r in records.items() if not n.startswith("encoders.") or r.status == "skipped"}
    records |= {name: record(tensor, "skipped") for name, tensor in others.items()}
    trunk = {name.removeprefix("trunk."): r for name, r in records.items() if name.startswith("trunk.")}
    report = TrunkReport(file.origin, content_hash(file.trunk.items()), trunk)
    return _finished(policy, report, {name: r for name, r in records.items() if not name.startswith("trunk.")})


def _finished(policy: HPTPolicy, trunk: TrunkReport, rest: Mapping[str, TensorRecord]) -> HPTPolicy:
    policy.provenance = {
        "source": trunk.source,
        "trunk": asdict(trunk),
        "tensors": {name: asdict(r) for name, r in rest.items()},
    }
    return policy.eval()
