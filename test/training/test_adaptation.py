"""What training may change: freezing, LoRA, and the counts that tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hpt_ros.configuration import from_mapping, to_mapping
from hpt_ros.embodiment import load_embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.model import EncoderConfig, HPTPolicy, LoraConfig, PolicyConfig, load_checkpoint
from hpt_ros.model.parameters import all_parameters, count_parameters
from hpt_ros.training import FinetuneConfig
from hpt_ros.training.adaptation import freeze_trunk
from hpt_ros.training.finetuning import train
from hpt_ros.training.run_folder import RunFolder


@pytest.fixture
def run(demos: Any, config: FinetuneConfig, tmp_path: Path) -> Callable[..., Any]:
    """Train on the demonstrations in memory, from a trunk of its own."""

    def run(**changes: Any) -> Any:
        torch.manual_seed(0)
        changed = replace(config, steps=8, **changes)
        folder = RunFolder(tmp_path / "run", overwrite=True)
        return train(changed, [demos], folder, trunk=None, seed=0, device="cpu", progress=lambda _: None)

    return run


def changed_blocks(out: Path) -> set[str]:
    """Numbers of the blocks in which a tensor differs between the start and the end of a run."""
    before, after = (load_checkpoint(out / name).policy.trunk.state_dict() for name in ("initial", "last"))
    return {name.split(".")[2] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("freeze", "expected"), [("none", {"0", "1", "2"}), (0, {"0", "1", "2"}), (2, {"2"}), (3, set()), ("all", set())]
)
def test_frozen_blocks_stay_and_the_others_move(
    run: Callable[..., Any], config: FinetuneConfig, freeze: Any, expected: set[str]
) -> None:
    report = run(policy=replace(config.policy, num_blocks=3), freeze=freeze)
    assert changed_blocks(Path(report.out)) == expected
    trunk = report.parameters["trunk"]
    assert trunk["trained"] * 3 == trunk["total"] * len(expected)
    stored = load_checkpoint(Path(report.out) / "last").provenance
    assert stored["parameters"] == report.parameters
    assert stored["settings"]["freeze"] == freeze


def test_lora_leaves_every_base_weight_and_learns(run: Callable[..., Any], config: FinetuneConfig) -> None:
    report = run(policy=replace(config.policy, lora=LoraConfig(rank=2)))
    before, after = (load_checkpoint(Path(report.out) / name).policy.trunk.state_dict() for name in ("initial", "last"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.endswith(("lora_a", "lora_b")) for name in changed)


def test_frozen_trunk_with_lora_still_trains_the_factors(config: FinetuneConfig, embodiment: Any) -> None:
    policy = HPTPolicy(replace(config.policy, lora=LoraConfig(rank=2)), embodiment)
    before = count_parameters(policy)["trunk"]["trained"]
    freeze_trunk(policy, "all")
    assert count_parameters(policy)["trunk"]["trained"] == before > 0


@pytest.mark.parametrize("freeze", ["some", -1, 2, True])
def test_freezing_something_else_is_refused(config: FinetuneConfig, freeze: Any) -> None:
    data = to_mapping(config) | {"freeze": freeze}
    with pytest.raises(ConfigError, match="freeze"):
        from_mapping(FinetuneConfig, data)


@pytest.mark.parametrize("freeze", ["none", "all", 0, 1])
def test_freeze_survives_a_file_of_settings(config: FinetuneConfig, freeze: Any) -> None:
    changed = replace(config, freeze=freeze, policy=replace(config.policy, lora=LoraConfig(rank=4)))
    assert from_mapping(FinetuneConfig, to_mapping(changed)) == changed


def test_the_papers_regime_trains_under_three_million_parameters(record_property: Any) -> None:
    """arXiv 2409.20537, section 5.2: base trunk and ResNet-18 frozen; here stems, head and LoRA are trained."""
    config = PolicyConfig.sized("base", encoder=EncoderConfig("resnet18", "random"), lora=LoraConfig(rank=8))
    policy = HPTPolicy(config, load_embodiment("panda"))
    freeze_trunk(policy, "all")
    counts = count_parameters(policy)
    total = all_parameters(counts)
    print(f"trained {total['trained']:,} of {total['total']:,}: {counts}")
    record_property("trained", total["trained"])
    assert counts["encoder"]["trained"] == 0
    assert counts["trunk"]["trained"] == 16 * 8 * (256 + 768 + 256 + 256 + 256 + 1024 + 1024 + 256)
    assert 1_000_000 < total["trained"] < 3_000_000
