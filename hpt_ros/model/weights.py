"""Weight files: read without running code from them, load completely or not at all."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hpt_ros.errors import DataError

Status = Literal["loaded", "skipped", "initialised"]


@dataclass(frozen=True)
class TensorRecord:
    """What became of one tensor: `loaded` from the file, `skipped` in it, or `initialised` because it is not in it.

    `hash` is the first 16 hex digits of the SHA-256 over type, shape and bytes.
    """

    status: Status
    shape: tuple[int, ...]
    hash: str


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors file or a PyTorch state dict (read with `weights_only`).

    Raises:
        DataError: the file is missing, cut short, holds something else than tensors, or a value that is not finite.
    """
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise DataError(f"{path}: holds something else than named tensors", "pass a state dict")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise DataError(f"{path}: tensor {name} holds NaN or infinite values", "use an undamaged file")
    return dict(tensors)


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], source: object) -> None:
    """Copy `tensors` into the parameters and buffers of the same names.

    Raises:
        DataError: naming every tensor that is missing, left over, or of another shape; nothing is loaded then.
    """
    _require_fit(module.state_dict(), tensors, source, (), ())
    module.load_state_dict(dict(tensors))


def load_and_compare(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    source: object,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
) -> dict[str, TensorRecord]:
    """`load_exactly`, but for names that match one of the globs; then each loaded tensor is compared bit for bit.

    Gives a record of every tensor that the module or the file has.

    Raises:
        DataError: as `load_exactly`, or a tensor that differs from the file after loading.
    """
    own = module.state_dict()
    _require_fit(own, tensors, source, allow_missing, allow_unused)
    module.load_state_dict({name: tensor for name, tensor in tensors.items() if name in own}, strict=False)
    own = module.state_dict()
    differing = [name for name in own if name in tensors and not _same_bits(own[name], tensors[name])]
    if differing:
        raise DataError(f"{source}: the network differs from the file after loading in: {', '.join(differing)}")
    records = {name: record(t, "loaded" if name in tensors else "initialised") for name, t in own.items()}
    return records | {name: record(t, "skipped") for name, t in tensors.items() if name not in own}


def record(tensor: Tensor, status: Status) -> TensorRecord:
    """The record of a tensor as it is now."""
    return TensorRecord(status, tuple(tensor.shape), content_hash([("", tensor)]))


def content_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """First 16 hex digits of the SHA-256 over names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor).numpy().tobytes())
    return digest.hexdigest()[:16]


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether one of the globs means this tensor."""
    return any(fnmatchcase(name, glob) for glob in globs)


def _require_fit(
    own: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    source: object,
    allow_missing: Sequence[str],
    allow_unused: Sequence[str],
) -> None:
    missing = [name for name in own if name not in tensors and not matches(name, allow_missing)]
    unused = [name for name in tensors if name not in own and not matches(name, allow_unused)]
    problems = [f"missing: {name} {tuple(own[name].shape)}" for name in missing]
    problems += [f"unexpected: {name} {tuple(tensors[name].shape)}" for name in unused]
    problems += [
        f"shape of {name}: found {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if problems:
        raise DataError(
            f"{source}: does not hold the tensors of this network:\n  " + "\n  ".join(problems),
            "give the complete file of a network of these sizes; for a trunk, name what may differ: "
            "--allow-missing 'GLOB', --allow-unused 'GLOB'",
        )


def _unreadable(path: Path, error: Exception) -> DataError:
    text = str(error).strip()
    if isinstance(error, pickle.UnpicklingError) and "unsupported" in text.lower():
        return DataError(
            f"{path}: not loaded: besides tensors it holds pickled Python objects, which can run code",
            "get a file of tensors alone: torch.save(model.state_dict(), FILE), or safetensors",
        )
    if isinstance(error, pickle.UnpicklingError):  # torch's own text advises to run what the file holds
        text = "no state dict, or damaged"
    reason = text.splitlines()[0] if text else type(error).__name__
    return DataError(f"{path}: not a readable weight file ({reason})", "copy or download it again")


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(_bytes(a), _bytes(b))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
