"""A hash of the part of an embodiment that shapes tensors; bags, demonstrations and checkpoints carry it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from hpt_ros.configuration import to_mapping
from hpt_ros.embodiment.schema import LOSSLESS, Action, Camera, DepthCamera, Embodiment
from hpt_ros.errors import FingerprintError


def tensor_contract(embodiment: Embodiment) -> dict[str, Any]:
    """What must be equal for one side to read the other's tensors; topics, rates of arrival and limits are not part of it."""
    contract = {
        "state": list(embodiment.state_names),
        "cameras": [_view(camera) for camera in embodiment.cameras],
        "action": {"kind": embodiment.action.kind, "names": list(embodiment.action_names)},
        "policy": {
            "rate_hz": embodiment.policy.rate_hz,
            "observation_horizon": embodiment.policy.observation_horizon,
            "action_horizon": embodiment.policy.action_horizon,
        },
    }
    if embodiment.depth:  # absent otherwise: an embodiment without the modality keeps the fingerprint it always had
        contract["depth"] = [_view(camera) for camera in embodiment.depth]
    return contract


def _view(camera: Camera | DepthCamera) -> dict[str, Any]:
    view = {"name": camera.name, "crop_px": to_mapping(camera.crop_px), "size_px": list(camera.size_px)}
    if isinstance(camera, Camera) and camera.store != LOSSLESS:  # losses change what the policy sees
        view["store"] = camera.store
    return view


def as_received(embodiment: Embodiment) -> Embodiment:
    """The embodiment as far as bags go: they hold what the cameras sent, whatever a demonstration set keeps of it, and joint
    targets, whatever kind of action is made of them.
    """
    cameras = tuple(replace(camera, store=LOSSLESS) for camera in embodiment.cameras)
    return replace(embodiment, cameras=cameras, action=Action("joint_position"))


def fingerprint(embodiment: Embodiment) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of `tensor_contract`."""
    canonical = json.dumps(tensor_contract(embodiment), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def differences(expected: object, found: object, path: str = "") -> list[str]:
    """One line per leaf in which two tensor contracts differ, `path: expected ..., found ...`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = [*expected, *(k for k in found if k not in expected)]
        return [
            line for k in keys for line in differences(expected.get(k), found.get(k), f"{path}.{k}" if path else str(k))
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for i, (a, b) in enumerate(zip(expected, found, strict=True))
            for line in differences(a, b, f"{path}[{i}]")
        ]
    return [] if expected == found else [f"{path}: expected {expected!r}, found {found!r}"]


def require_same(expected: Embodiment, found: Embodiment, expected_name: str, found_name: str) -> None:
    """Refuse two embodiments whose tensors differ.

    Raises:
        FingerprintError: with every difference on a line of its own.
    """
    if fingerprint(expected) == fingerprint(found):
        return
    lines = differences(tensor_contract(expected), tensor_contract(found))
    raise FingerprintError(
        f"{found_name} ({found.name}, {fingerprint(found)}) does not match {expected_name} ({expected.name}, {fingerprint(expected)}):\n  "
        + "\n  ".join(lines),
        "use the embodiment that the data was made with, or convert and train again",
    )
