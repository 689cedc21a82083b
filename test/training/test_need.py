"""Memory that training will take is said before it begins, and missing memory is refused then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hpt_ros.errors import DataError
from hpt_ros.model import HPTPolicy
from hpt_ros.training import FinetuneConfig, finetune, need
from hpt_ros.training.need import Need, training_need


def need_of(config: FinetuneConfig, demos: Any, batch_size: int, **policy_settings: Any) -> Need:
    policy = HPTPolicy(replace(config.policy, **policy_settings), demos.embodiment)
    trained = 4 * sum(p.numel() for p in policy.parameters() if p.requires_grad)
    return training_need([policy], trained, batch_size=batch_size, averaged=False, cached=False)


def test_activations_are_those_of_the_batch_itself(config: FinetuneConfig, demos: Any) -> None:
    """Predicted from batches of one and two; measured on the whole one."""
    policy = HPTPolicy(config.policy, demos.embodiment)
    measured, _ = need._kept(policy, 24, cached=False)
    predicted = need_of(config, demos, 24).activations
    assert predicted == pytest.approx(need.MARGIN * measured, rel=0.1)


def test_recomputed_blocks_need_less_and_more_parameters_more(config: FinetuneConfig, demos: Any) -> None:
    plain = need_of(config, demos, 64, num_blocks=6)
    recomputed = need_of(config, demos, 64, num_blocks=6, recompute_blocks=True)
    assert recomputed.activations < 0.7 * plain.activations
    assert recomputed.update == plain.update > need_of(config, demos, 64, num_blocks=2).update


def test_the_random_numbers_of_training_stay_what_they_were(config: FinetuneConfig, demos: Any) -> None:
    policy = HPTPolicy(config.policy, demos.embodiment)
    before = torch.get_rng_state()
    training_need([policy], 1000, batch_size=8, averaged=True, cached=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in policy.parameters())


def test_too_little_memory_is_refused_and_an_earlier_run_kept(
    config: FinetuneConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finetune(replace(config, steps=2), [folder], tmp_path / "run")
    monkeypatch.setattr(need, "available_bytes", lambda: 1_000_000)
    with pytest.raises(
        DataError, match=r"of memory \(update 0\.\d+, activations .*, 0\.00 GB are free on cpu"
    ) as error:
        finetune(replace(config, steps=2), [folder], tmp_path / "run", overwrite=True)
    assert "batch_size" in error.value.remedy
    assert (tmp_path / "run" / "last").is_dir()
    assert not (tmp_path / "run.partial").exists()
