"""Settings files: numbers as people write them, and refusals that name the key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from hpt_ros.configuration import from_mapping, load_yaml
from hpt_ros.errors import ConfigError


@dataclass(frozen=True)
class Rates:
    """Two settings."""

    lr: float
    steps: int = 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1.0e-3", 0.001), ("1.0e9", 1e9), (".5E3", 500.0), ("-2e-2", -0.02), ("1", 1.0), ("2.5", 2.5)],
)
def test_a_number_may_be_written_in_any_way(tmp_path: Path, text: str, value: float) -> None:
    (file := tmp_path / "a.yaml").write_text(f"lr: {text}\n")
    assert from_mapping(Rates, load_yaml(file)).lr == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr: 1e", "lr: found '1e', allowed: a number"),
        ("lr: 1\nsteps: 1e3", "steps: found 1000.0"),
        ("lr: 1\nsteep: 3", "steep: found 'an unknown key', allowed: one of lr, steps"),
        ("steps: 3", "lr: found 'nothing'"),
        ("- 1", "'list'"),
        ("lr: [", "not YAML"),
        ("!!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    (file := tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        from_mapping(Rates, load_yaml(file))
    assert says in str(error.value)
