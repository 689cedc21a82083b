"""Read an embodiment by preset name or by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpt_ros.configuration import from_mapping, to_mapping
from hpt_ros.embodiment.schema import Embodiment
from hpt_ros.presets import load_preset, preset_names


def presets() -> list[str]:
    """Names that `load_embodiment` knows without a path."""
    return preset_names("embodiments")


def load_embodiment(name_or_path: str | Path) -> Embodiment:
    """The embodiment of a preset (`sim_panda`) or of a YAML file.

    Raises:
        ConfigError: no such preset or file, or a value in it that cannot be accepted.
    """
    return load_preset(Embodiment, "embodiments", name_or_path, "embodiment")


def embodiment_from(data: Any) -> Embodiment:
    """The embodiment of plain data, as stored in bags, demonstrations and checkpoints."""
    return from_mapping(Embodiment, data)


def embodiment_to(embodiment: Embodiment) -> dict[str, Any]:
    """Plain data that `embodiment_from` reads back to an equal embodiment."""
    mapping: dict[str, Any] = to_mapping(embodiment)
    return mapping
