from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.model import Batch, HPTPolicy, LoraConfig, PolicyConfig, load_checkpoint, load_trunk, save_checkpoint
from hpt_ros.model.batch import Tokens
from hpt_ros.model.config import LoraTarget
from hpt_ros.model.lora import add_lora, blocks, merged
from hpt_ros.model.trunk import Trunk

TARGETS = get_args(LoraTarget)


@pytest.fixture
def adapted(policy: HPTPolicy, embodiment: Embodiment) -> HPTPolicy:
    """The policy fixture with LoRA, whose factors have been trained."""
    torch.manual_seed(0)
    adapted = HPTPolicy(replace(policy.config, lora=LoraConfig(rank=3)), embodiment)
    adapted.load_state_dict(policy.state_dict(), strict=False)
    for name, parameter in adapted.named_parameters():
        if name.endswith("lora_b"):
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted.eval()


def test_function_starts_as_it_was(policy: HPTPolicy, embodiment: Embodiment, batch: Batch) -> None:
    torch.manual_seed(0)
    fresh = HPTPolicy(replace(policy.config, lora=LoraConfig()), embodiment)
    fresh.scaling.load_state_dict(policy.scaling.state_dict())
    assert torch.equal(fresh.eval().predict(batch), policy.predict(batch))


def test_base_keeps_its_names_and_only_factors_train(policy: HPTPolicy, adapted: HPTPolicy) -> None:
    published = set(policy.trunk.state_dict())
    names = set(adapted.trunk.state_dict())
    assert published < names
    assert {n.rpartition(".")[2] for n in names - published} == {"lora_a", "lora_b", "in_proj_lora_a", "in_proj_lora_b"}
    trained = {name for name, p in adapted.trunk.named_parameters() if p.requires_grad}
    assert trained == names - published


def test_one_step_changes_factors_and_no_base_weight(policy: HPTPolicy, embodiment: Embodiment, batch: Batch) -> None:
    fresh = HPTPolicy(replace(policy.config, lora=LoraConfig()), embodiment)
    before = {name: t.clone() for name, t in fresh.trunk.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in fresh.parameters() if p.requires_grad], lr=1.0)
    fresh.loss(batch).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    changed = {name for name, t in fresh.trunk.state_dict().items() if not torch.equal(t, before[name])}
    assert changed
    assert all(name.endswith("lora_b") for name in changed)  # lora_a moves once lora_b is not zero


def test_merged_policy_has_the_same_function_and_plain_names(
    policy: HPTPolicy, adapted: HPTPolicy, batch: Batch
) -> None:
    plain = merged(adapted)
    assert plain.state_dict().keys() == policy.state_dict().keys()
    assert plain.config == policy.config
    assert not torch.allclose(adapted.predict(batch), policy.predict(batch), atol=1e-4)
    torch.testing.assert_close(plain.predict(batch), adapted.predict(batch), rtol=0, atol=1e-5)
    assert adapted.config.lora is not None  # it is a copy
    assert merged(policy) is policy


@settings(deadline=None, max_examples=20)
@given(
    rank=st.integers(1, 5),
    alpha=st.floats(0.5, 32),
    targets=st.sets(st.sampled_from(TARGETS), min_size=1),
    seed=st.integers(0, 9),
)
def test_merging_keeps_the_function_for_any_targets(
    rank: int, alpha: float, targets: set[LoraTarget], seed: int
) -> None:
    torch.manual_seed(seed)
    trunk = Trunk(16, 2, 4, 0.0)
    config = LoraConfig(rank, alpha, tuple(sorted(targets)))
    add_lora(trunk, config)
    count = sum(name.endswith("lora_a") for name in trunk.state_dict())
    assert count == len(targets) * 2
    for name, parameter in trunk.named_parameters():
        if name.endswith("lora_b"):
            torch.nn.init.normal_(parameter, std=0.1)
    holder = HolderOf(trunk, config)
    x = Tokens(torch.randn(2, 5, 16))
    plain = merged(holder).trunk  # type: ignore[arg-type]
    torch.testing.assert_close(plain(x).values, trunk(x).values, rtol=1e-4, atol=1e-5)
    assert not any("lora" in name for name in plain.state_dict())


class HolderOf(torch.nn.Module):
    """What `merged` reads of a policy."""

    def __init__(self, trunk: Trunk, lora: LoraConfig) -> None:
        super().__init__()
        self.trunk, self.config = trunk, PolicyConfig(lora=lora)


def test_checkpoint_keeps_the_factors(tmp_path: Path, adapted: HPTPolicy, embodiment: Embodiment, batch: Batch) -> None:
    save_checkpoint(tmp_path / "last", adapted, embodiment, {})
    again = load_checkpoint(tmp_path / "last").policy
    assert again.config.lora == LoraConfig(rank=3)
    assert torch.equal(again.predict(batch), adapted.predict(batch))


def test_published_trunk_loads_under_the_factors(tmp_path: Path, policy: HPTPolicy, adapted: HPTPolicy) -> None:
    torch.manual_seed(7)
    trunk = Trunk(32, 2, 4, 0.1).state_dict()
    torch.save(trunk, tmp_path / "trunk.pth")
    report = load_trunk(adapted, tmp_path / "trunk.pth")
    assert {n for n, r in report.tensors.items() if r.status == "loaded"} == trunk.keys()
    state = adapted.trunk.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in trunk.items())


def test_recomputed_activations_give_the_same_gradient(policy: HPTPolicy, adapted: HPTPolicy, batch: Batch) -> None:
    def gradient(recompute: bool) -> torch.Tensor:
        adapted.train()
        adapted.trunk.recompute = recompute
        for block in blocks(adapted.trunk):
            block.drop_path = 0.0
        adapted.zero_grad()
        torch.manual_seed(1)
        adapted.loss(batch).backward()  # type: ignore[no-untyped-call]
        grad = blocks(adapted.trunk)[0].mlp.fc1.lora_b.grad
        assert isinstance(grad, torch.Tensor)
        return grad.clone()

    torch.testing.assert_close(gradient(False), gradient(True))


@pytest.mark.parametrize(("key", "value"), [("rank", 0), ("alpha", 0.0), ("targets", ())])
def test_bad_settings_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        LoraConfig(**{key: value})  # type: ignore[arg-type]
