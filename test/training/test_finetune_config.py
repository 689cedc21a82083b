from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpt_ros.errors import ConfigError
from hpt_ros.paths import config_dir
from hpt_ros.training import finetune_presets, load_finetune_config


@pytest.mark.parametrize("name", ["quick", "real_robot", "sim"])
def test_presets_load(name: str) -> None:
    assert name in finetune_presets()
    assert load_finetune_config(name).steps >= 1


def test_real_robot_is_the_published_base_size() -> None:
    policy = load_finetune_config("real_robot").policy
    assert (policy.embed_dim, policy.num_blocks, policy.num_heads) == (256, 16, 8)
    assert policy.encoder.kind == "resnet18"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("optimizer", "lr", -1.0),
        ("optimizer", "grad_clip", 0),
        ("validation", "fraction", 1.0),
        ("policy", "blocks", 2),
    ],
)
def test_bad_value_is_refused_with_file_and_key(tmp_path: Path, section: str, key: str, value: object) -> None:
    data = yaml.safe_load((config_dir("finetune") / "sim.yaml").read_text())
    data[section][key] = value
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=rf"{path}: {section}\.{key}"):
        load_finetune_config(path)


def test_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"quick, real_robot, sim"):
        load_finetune_config("fast")
