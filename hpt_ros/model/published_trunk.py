"""Write a trunk in the published layout: `trunk.pth` and `config.yaml`, which `open_published` reads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

import hpt_ros
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.published import SIZES
from hpt_ros.model.trunk import Trunk
from hpt_ros.model.weights import content_hash
from hpt_ros.paths import whole_folder

TRUNK, CONFIG, NOTES = "trunk.pth", "config.yaml", "pretraining.json"


def save_trunk(folder: Path, trunk: Trunk, config: PolicyConfig, notes: Mapping[str, Any]) -> None:
    """Write `folder` as a whole: an interruption leaves what was there before, or nothing.

    `notes`, plain JSON data on where the trunk comes from, go into a file beside it that no reader needs.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trunk.state_dict().items()}
    network = {name: getattr(config, name) for name in SIZES}
    network |= {"drop_path": config.drop_path, "token_postprocessing": _pooling(config)}
    described = {"version": hpt_ros.__version__, "content": content_hash(tensors.items()), **notes}
    file = io.BytesIO()
    torch.save(tensors, file)
    with whole_folder(folder) as new:
        (new / TRUNK).write_bytes(file.getbuffer())
        (new / CONFIG).write_text(yaml.safe_dump({"network": network}, sort_keys=False))
        (new / NOTES).write_text(json.dumps(described, indent=1) + "\n")


def _pooling(config: PolicyConfig) -> str:
    """The published name of the pooling that the heads were pre-trained with."""
    return "no-op" if config.pooling == "none" else config.pooling
