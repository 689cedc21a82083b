"""Settings by preset name or by file, for every kind of configuration below config/."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from hpt_ros.configuration import from_mapping, load_yaml
from hpt_ros.errors import ConfigError
from hpt_ros.paths import config_dir

T = TypeVar("T")


def preset_names(kind: str) -> list[str]:
    """Names of config/<kind>/*.yaml."""
    return sorted(path.stem for path in config_dir(kind).glob("*.yaml"))


def load_preset(cls: type[T], kind: str, name_or_path: str | Path, key: str) -> T:
    """The frozen dataclass `cls` from config/<kind>/<name>.yaml or from a YAML file; `key` names the choice in errors.

    Raises:
        ConfigError: no such preset or file, or a value in it that cannot be accepted.
    """
    text = str(name_or_path)
    path = Path(text) if text.endswith((".yaml", ".yml")) else config_dir(kind) / f"{text}.yaml"
    if not path.is_file():
        raise ConfigError(key, text, f"a .yaml file, or one of {', '.join(preset_names(kind))}")
    try:
        return from_mapping(cls, load_yaml(path))
    except ConfigError as error:
        raise error.under(f"{path}: ") from None
