"""Published weights of other networks on this machine: where they lie, their hash, and how to get them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.errors import DataError, MissingDependencyError
from hpt_ros.model.hub import SCHEME, resolve

_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class WeightSource:
    """Weights that were read: the place as people name it, the files, and the SHA-256 of their bytes in order of name."""

    origin: str
    files: tuple[Path, ...]
    sha256: str

    @property
    def folder(self) -> Path:
        """Where the files lie, with what describes them."""
        return self.files[0].parent

    def record(self) -> dict[str, str]:
        """For provenance: path and sha256."""
        return {"path": self.origin, "sha256": self.sha256}


def find_weights(place: str, sha256: str, *, remedy: str, suffixes: Sequence[str] = (".safetensors",)) -> WeightSource:
    """The weight files at a place: a file, a folder that holds some, or an address on the hub, which is downloaded.

    Args:
        sha256: what they must hash to; empty: anything.
        remedy: how to get the file; `{path}` and `{folder}` in it become the missing path and the folder it goes into.

    Raises:
        DataError: nothing there, nothing that can be downloaded, or another hash.
    """
    at = resolve(place)
    files = _weight_files(at.path, suffixes)
    if not files:
        what = f"{at.path}: no {' or '.join(suffixes)} file in it" if at.path.is_dir() else f"missing: {at.path}"
        folder = at.path if at.path.is_dir() or not at.path.suffix else at.path.parent
        command = remedy.format(path=at.path, folder=folder)
        raise DataError(f"pre-trained weights: {what}", command)
    found = hash_of(files)
    if sha256 and found != sha256:
        raise DataError(
            f"{place}: the weights have SHA-256 {found}, expected {sha256}",
            "get the file that was meant, or set sha256 to the one that you trust",
        )
    return WeightSource(at.origin, files, found)


def hash_of(files: Sequence[Path]) -> str:
    """SHA-256 of the files' bytes, one after the other; of a single file what sha256sum prints."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def load_transformers(model_class: Any, source: WeightSource, unused: Sequence[str] = (), **options: Any) -> Any:
    """A float32 network of transformers from its folder, in evaluation mode; only safetensors are read.

    Args:
        unused: starts of names in the file that this network does not have.

    Raises:
        DataError: tensors that are missing, misshapen or left over, not finite, or a damaged file.
    """
    import torch

    log = transformers_library("the network").utils.logging
    verbosity = log.get_verbosity()
    log.set_verbosity_error()  # its report of names that are left out; ours follows
    try:
        model, info = model_class.from_pretrained(
            str(source.folder),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            dtype=torch.float32,
            **options,
        )
    except Exception as error:  # transformers, safetensors and OSError each have their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{source.origin}: not loaded: {reason}", "download the weights again") from error
    finally:
        log.set_verbosity(verbosity)
    problems = [f"missing: {name}" for name in sorted(info["missing_keys"])]
    problems += [f"unexpected: {n}" for n in sorted(info["unexpected_keys"]) if not n.startswith(tuple(unused))]
    problems += [f"shape of {entry[0]}" for entry in info["mismatched_keys"]]
    problems += [f"not finite: {name}" for name, t in model.state_dict().items() if not torch.isfinite(t).all()]
    if problems:
        raise DataError(f"{source.origin}: does not hold the tensors of this network:\n  " + "\n  ".join(problems))
    return model.eval()


def transformers_library(purpose: str) -> Any:
    """The module transformers, quiet about its progress.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(f"{purpose} needs transformers", "pip install 'transformers>=5,<6'") from error
    library: Any = transformers
    library.utils.logging.disable_progress_bar()
    return library


def download_command(place: str, usual: str) -> str:
    """The command that puts a network of transformers into a folder; `usual` is the repository when `place` is a folder."""
    if place.startswith(SCHEME):
        repo, _, revision = place.removeprefix(SCHEME).partition("@")
        return f"hf download {repo}" + (f" --revision {revision}" if revision else "")
    return f"hf download {usual} --local-dir {place} --include '*.json' '*.safetensors'"


def _weight_files(path: Path, suffixes: Sequence[str]) -> tuple[Path, ...]:
    if path.is_file():
        return (path,)
    return tuple(sorted(file for suffix in suffixes for file in path.glob(f"*{suffix}"))) if path.is_dir() else ()
