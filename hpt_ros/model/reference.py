"""Agreement with another implementation: a file of its weights, inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.embodiment import Camera
from hpt_ros.embodiment.schema import Timing
from hpt_ros.errors import DataError
from hpt_ros.model.batch import Features
from hpt_ros.model.config import EncoderConfig
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.published import UNUSED_AS_PUBLISHED, PublishedFile
from hpt_ros.model.published_sizes import infer_config
from hpt_ros.model.weights import load_and_compare

Arrays = Mapping[str, NDArray[Any]]
_TIMING = Timing(rate_hz=30, max_age_s=0.2, allowance_s=0.0)


@torch.no_grad()
def compare_with_reference(
    npz: Path | str, num_heads: int | None = None, *, inputs: Arrays | None = None, domain: str | None = None
) -> dict[str, float]:
    """Largest absolute difference of each output of the file from what this implementation gives.

    The file has `weights/*` in the published names, `input/state` (N, T, S) in physical units and features
    `input/<modality>` (N, T, M, ..., D), and any of `output/{stem_<modality>, trunk_tokens, features, action}`;
    `meta/num_heads`, if it is there, stands in for the argument. The network is built from the shapes alone.

    Args:
        inputs: arrays by modality that the file leaves out.
        domain: which one, when the file holds several.

    Raises:
        DataError: the file cannot be read, lacks something, or has an output that this network does not have.
    """
    path = Path(npz)
    arrays = _read(path)
    weights = PublishedFile(str(path), path, _part(arrays, "weights/"), {})
    given = _part(arrays, "input/") | {name: torch.from_numpy(a) for name, a in (inputs or {}).items()}
    heads = (
        num_heads if num_heads is not None else int(arrays["meta/num_heads"]) if "meta/num_heads" in arrays else None
    )
    policy = _policy(weights, domain or _only_domain(weights), given, heads)
    found = _outputs(policy, given, path)
    expected = _part(arrays, "output/")
    unknown = sorted(expected.keys() - found.keys())
    if not expected or unknown:
        raise DataError(
            f"{path}: outputs {', '.join(unknown) or 'are missing'}; this network has {', '.join(found)}",
            "name the outputs output/NAME",
        )
    return {name: _difference(found[name], value, f"{path}: output/{name}") for name, value in expected.items()}


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, BadZipFile, AttributeError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npz of arrays ({error})", "write it with numpy.savez") from error


def _part(arrays: Arrays, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): torch.from_numpy(a) for name, a in arrays.items() if name.startswith(prefix)}


def _only_domain(weights: PublishedFile) -> str:
    if len(weights.domains) != 1:
        raise DataError(
            f"{weights.origin}: holds heads of {', '.join(weights.domains) or 'no embodiment'}", "name one: domain=NAME"
        )
    return weights.domains[0]


def _policy(weights: PublishedFile, domain: str, given: Mapping[str, Tensor], num_heads: int | None) -> HPTPolicy:
    """The network of the weights on a stand-in for the embodiment, which the file does not describe."""
    own = weights.of_domain(domain, domain)
    config = infer_config(own, domain, num_heads, encoder=EncoderConfig("resnet18", "random"))
    scales = {kind: f"normalizer.{domain}.params_dict.{kind}.scale" for kind in ("state", "action")}
    absent = [name for name in scales.values() if name not in own.tensors]
    if absent:
        raise DataError(f"{weights.origin}: missing: {', '.join(absent)}", "write the whole state dict of the policy")
    states, actions = (len(own.tensors[name]) for name in scales.values())
    last = [t for name, t in own.tensors.items() if name.startswith(f"heads.{domain}.net.") and t.ndim == 1][-1]
    queries = own.tensors.get(f"action_tokens.{domain}")
    rows = len(last) // actions if queries is None else queries.shape[1]
    views = given["image"].shape[2] if "image" in given and given["image"].ndim > 3 else 1
    shape: Any = SimpleNamespace(
        name=domain,
        state_names=tuple(f"state_{i}" for i in range(states)),
        action_names=tuple(f"action_{i}" for i in range(actions)),
        cameras=tuple(Camera(f"view_{i}", f"/view_{i}", "raw", (224, 224), _TIMING) for i in range(views)),
        depth=(),
        policy=SimpleNamespace(action_horizon=rows),
    )
    policy = HPTPolicy(config, shape).eval()
    load_and_compare(policy, own.tensors, weights.origin, ["encoders.*"], [UNUSED_AS_PUBLISHED])
    return policy


def _outputs(policy: HPTPolicy, given: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    absent = [name for name in policy.modalities if name not in given]
    if absent:
        raise DataError(
            f"{path}: lacks {', '.join(f'input/{name}' for name in absent)}", "give inputs of every modality"
        )
    features = {name: Features(given[name]) for name in policy.modalities if name != "state"}
    if "state" in policy.modalities:
        features["state"] = Features(policy.scaling.state.normalize(given["state"]).unsqueeze(2))
    tokens = policy.tokens(features)
    sizes = [getattr(policy.config, f"{name}_tokens") for name in policy.modalities]
    stems = tokens.values[:, : sum(sizes)].split(sizes, dim=1)  # type: ignore[no-untyped-call]
    found = {f"stem_{name}": stem for name, stem in zip(policy.modalities, stems, strict=True)}
    found["trunk_tokens"] = policy.contextual(tokens).values
    found["features"] = policy.pooled(features)
    found["action"] = policy.scaling.action.unnormalize(policy.head.sample(found["features"]))
    return found


def _difference(found: Tensor, expected: Tensor, name: str) -> float:
    if found.numel() != expected.numel():
        raise DataError(f"{name}: shape {tuple(expected.shape)}, this network gives {tuple(found.shape)}")
    return float((found.reshape(expected.shape) - expected).abs().max())
