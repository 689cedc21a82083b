"""What an interrupted run goes on from: one file, written as a whole or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hpt_ros.errors import DataError, HptRosError
from hpt_ros.paths import sync

log = logging.getLogger(__name__)
FORMAT = 1
MACHINE = "machine."
_SHOWN = 12


class ResumeError(HptRosError):
    """An interrupted run that the present command would not continue, but change."""

    exit_code = 10


@dataclass(frozen=True)
class RunState:
    """`facts`: everything that shaped the run; `track`: where it stands; `tensors`: weights and what the optimiser keeps."""

    facts: Mapping[str, Any]
    track: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def write_state(path: Path, state: RunState) -> None:
    """Replace the file durably; the plain data goes into the header of the safetensors file, so that both change as one."""
    header = {"format": str(FORMAT), "facts": json.dumps(state.facts), "track": json.dumps(state.track)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(save(tensors, header))
    sync(new)
    new.replace(path)
    sync(path.parent)


def read_state(path: Path) -> RunState:
    """Read what `write_state` wrote.

    Raises:
        DataError: the file is damaged or of another format.
    """
    remedy = "pass --overwrite to begin again"
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != str(FORMAT):
                raise DataError(f"{path}: format {header.get('format')}, expected {FORMAT}", remedy)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return RunState(json.loads(header["facts"]), json.loads(header["track"]), tensors)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not the state of a run ({error})", remedy) from error


def require_same_facts(folder: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare what shaped an interrupted run with what shapes this one; `machine` may differ, at the price of exactness.

    Raises:
        ResumeError: with every other fact that differs.
    """
    differing = _differences(then, now)
    machine = [line for key, line in differing.items() if key.startswith(MACHINE)]
    lines = [line for key, line in differing.items() if not key.startswith(MACHINE)]
    if lines:
        shown = lines[:_SHOWN] + ([f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])
        raise ResumeError(
            f"{folder} holds an interrupted run of other settings or data:\n  " + "\n  ".join(shown),
            "go on with what it began with, choose another --out, or pass --overwrite to discard it",
        )
    if machine:
        log.warning("going on, but not bit for bit as it would have: %s", "; ".join(machine))


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    before, after = _flat(then), _flat(json.loads(json.dumps(now)))
    return {
        key: f"{key}: then {before.get(key)!r}, now {after.get(key)!r}"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    }


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {path: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{path}.{key}" if path else str(key))
    return flat
