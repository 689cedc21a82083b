"""Read an embodiment by preset name or by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpt_ros.configuration import from_mapping, load_yaml, to_mapping
from hpt_ros.embodiment.schema import Embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.paths import config_dir


def presets() -> list[str]:
    """Names that `load_embodiment` knows without a path."""
    return sorted(path.stem for path in config_dir("embodiments").glob("*.yaml"))


def load_embodiment(name_or_path: str | Path) -> Embodiment:
    """The embodiment of a preset (`sim_panda`) or of a YAML file.

    Raises:
        ConfigError: no such preset or file, or a value in it that cannot be accepted.
    """
    text = str(name_or_path)
    path = Path(text) if text.endswith((".yaml", ".yml")) else config_dir("embodiments") / f"{text}.yaml"
    if not path.is_file():
        raise ConfigError("embodiment", text, f"a .yaml file, or one of {', '.join(presets())}")
    try:
        return embodiment_from(load_yaml(path))
    except ConfigError as error:
        raise error.under(f"{path}: ") from None


def embodiment_from(data: Any) -> Embodiment:
    """The embodiment of plain data, as stored in bags, demonstrations and checkpoints."""
    return from_mapping(Embodiment, data)


def embodiment_to(embodiment: Embodiment) -> dict[str, Any]:
    """Plain data that `embodiment_from` reads back to an equal embodiment."""
    mapping: dict[str, Any] = to_mapping(embodiment)
    return mapping
