"""Weight files: read without running code from them, load completely or not at all."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hpt_ros.errors import DataError


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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: not a readable weight file ({reason})", "copy or download it again") from error
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
    own = module.state_dict()
    problems = [f"missing: {name} {tuple(own[name].shape)}" for name in own if name not in tensors]
    problems += [f"unexpected: {name} {tuple(tensors[name].shape)}" for name in tensors if name not in own]
    problems += [
        f"shape of {name}: found {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if problems:
        raise DataError(f"{source}: does not hold the tensors of this network:\n  " + "\n  ".join(problems))
    module.load_state_dict(dict(tensors))


def content_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """First 16 hex digits of the SHA-256 over names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
