from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.model import Batch, EncoderConfig, HPTPolicy, PolicyConfig
from hpt_ros.model.trunk import Block


def test_chunk_is_unscaled_to_physical_units(policy: HPTPolicy, batch: Batch) -> None:
    chunk = policy(batch)
    assert chunk.shape == (4, 16, 8)
    assert (chunk.abs() < 1).all()
    torch.testing.assert_close(policy.scaling.action.normalize(policy.predict(batch)), chunk)


def test_loss_reads_valid_rows_only(policy: HPTPolicy, batch: Batch) -> None:
    assert batch.action is not None
    changed = batch.action.clone()
    changed[:, -3:] += 10
    assert policy.loss(replace(batch, action=changed)) == policy.loss(batch)
    changed[:, 0] += 10
    assert policy.loss(replace(batch, action=changed)) > policy.loss(batch)


def test_loss_without_any_valid_row_is_zero(policy: HPTPolicy, batch: Batch) -> None:
    assert batch.valid is not None
    assert policy.loss(replace(batch, valid=torch.zeros_like(batch.valid))) == 0


def test_views_count_by_the_embodiments_order_not_the_mappings(policy: HPTPolicy, batch: Batch) -> None:
    front, wrist = batch.images["front"], batch.images["wrist"]
    assert torch.equal(policy(batch), policy(replace(batch, images={"wrist": wrist, "front": front})))
    assert not torch.equal(policy(batch), policy(replace(batch, images={"front": wrist, "wrist": front})))


def test_encoded_once_or_in_one_pass_is_the_same(policy: HPTPolicy, batch: Batch) -> None:
    assert torch.equal(policy.act(policy.encode(batch.images), batch.state), policy(batch))


def test_drop_path_skips_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, drop_path=0.25).train()
    branch = block._drop(torch.ones(4000, 3, 8))
    assert set(branch.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert all(len(sample.unique()) == 1 for sample in branch[:50])
    assert abs(branch.mean() - 1) < 0.05


def test_cameraless_embodiment_is_refused(embodiment: Embodiment) -> None:
    with pytest.raises(ConfigError, match="at least one camera"):
        HPTPolicy(PolicyConfig(), replace(embodiment, cameras=()))


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"num_heads": 3}, "num_heads"),
        ({"dropout": 1.0}, "dropout"),
        ({"head_widths": ()}, "head_widths"),
        ({"image_tokens": 0}, "image_tokens"),
    ],
)
def test_impossible_sizes_are_refused_by_name(values: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigError, match=f"^{path}: "):
        PolicyConfig(**values)  # type: ignore[arg-type]


def test_resnet_needs_its_weights_named() -> None:
    with pytest.raises(ConfigError, match="weights"):
        EncoderConfig("resnet18")
